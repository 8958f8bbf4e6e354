"""What is usual at each place of a generator's images: how far from it an image is there, and how odd that is.

    usual = Usual(maps)                     # feature maps [R, D, h, w] of R of its own images
    usual.distance(other)                   # [N, h, w] of maps [N, D, h, w]
    usual.oddity(other)                     # [N, h, w]

The distance of a place is the logarithm of the mean distance to the nearest of what the reference images show there (a
local density, as in anomaly detection by nearest patches: Roth et al. 2022), after the features were made uncorrelated
and of equal size. In the logarithm a fault in a usual scene counts for more than one in a rare scene.

Far from all others is odd, and so is far too close to some: a black bar, a stamp or a dead patch looks the same in all
the images that have it, and its density alone would call it the most usual thing there is. So with d the distance to
few neighbours, m its median over the references, each without itself, and q the distance of its quartiles,

    oddity = max(d - m, m - q - d)

from both sides, as in the test for typicality of Nalisnick et al. (2019).
"""

import numpy as np
import torch
from torch import Tensor

NEIGHBOURS = 15  # of distances, among every second of the references: that will do, in half the time
CLOSEST = 10  # neighbours of oddity: what few images have in common shows among few
_EVERY = 2
_MIDDLE = 250  # of the references say what distance is usual
_MOST_DISTANCES = 1 << 22  # held at once
_SAME = 0.01  # nearer than this is the same: float32 has no better in distances of whitened features
_RIDGE = 0.2  # of the variance of a feature: directions that hardly vary are not blown up further


class Usual:
    """Reference images at every place."""

    def __init__(self, maps: Tensor) -> None:
        count, depth, *size = maps.shape
        self._mean = maps.mean((0, 2, 3))
        centred = (maps - self._mean[:, None, None]).permute(0, 2, 3, 1).reshape(-1, depth)
        covariance = centred.T.double() @ centred.double() / max(1, len(centred) - 1)
        deviation = covariance.diagonal().clamp(min=1e-12).sqrt()
        values, axes = torch.linalg.eigh(covariance / deviation[:, None] / deviation)
        self._whiten = (axes * (values.clamp(min=0) + _RIDGE).rsqrt() @ axes.T / deviation).float()
        places = self._by_place(maps)
        self._all, self._some = _References(places), _References(places[:, ::_EVERY].contiguous())
        own = torch.arange(0, count, max(1, count // _MIDDLE), device=maps.device)
        between = self._all.nearest(places[:, own], CLOSEST - 1, own).cpu()  # each is one of the closest itself
        low, middle, high = between.quantile(torch.tensor([0.25, 0.5, 0.75]), 0).to(maps.device)  # each [P]
        self._middle, self._range = middle.view(*size), (high - low).view(*size)

    def distance(self, maps: Tensor, own: Tensor | None = None) -> Tensor:
        """Return how far from the usual feature maps [N, D, h, w] are at each place [N, h, w].

        `own` [N] says which of the references each is made of, -1 for none: that one is not among its neighbours.
        """
        if own is not None:
            own = torch.where(own % _EVERY == 0, own // _EVERY, -1)
        found = self._some.nearest(self._by_place(maps), NEIGHBOURS, own)
        return found.view(len(maps), *maps.shape[2:])

    def oddity(self, maps: Tensor) -> Tensor:
        """Return how odd that is [N, h, w]: too far from the usual, or too close to some of it."""
        found = self._all.nearest(self._by_place(maps), CLOSEST)
        beyond = found.view(len(maps), *maps.shape[2:]) - self._middle
        return torch.maximum(beyond, -beyond - self._range)

    def _by_place(self, maps: Tensor) -> Tensor:
        """Return whitened features [h * w, N, D]."""
        centred = (maps - self._mean[:, None, None]).flatten(2)
        return torch.einsum("ij,njp->pni", self._whiten, centred).contiguous()


class _References:
    """Points [P, R, D] of R reference images at P places."""

    def __init__(self, points: Tensor) -> None:
        self._points = points
        self._lengths = points.square().sum(2).unsqueeze(1)  # [P, 1, R]

    def nearest(self, points: Tensor, count: int, own: Tensor | None = None) -> Tensor:
        """Return the log of the mean distance [N, P] of points [P, N, D] to the nearest `count`, `own` [N] left out."""
        places, references, _ = self._points.shape
        own = torch.full(points.shape[1:2], -1, device=points.device) if own is None else own
        few, others = max(1, _MOST_DISTANCES // (places * references)), references - int((own >= 0).any())
        parts = zip(points.split(few, dim=1), own.split(few), strict=True)
        return torch.cat([self._nearest(part, max(1, min(count, others)), mine) for part, mine in parts])

    def _nearest(self, points: Tensor, count: int, own: Tensor) -> Tensor:
        squares = torch.baddbmm(self._lengths, points, self._points.transpose(1, 2), alpha=-2)
        squares += points.square().sum(2, keepdim=True)
        rows = (own >= 0).nonzero().flatten()
        squares[:, rows, own[rows]] = torch.inf
        near = _lowest(squares, count).clamp(min=0).sqrt()
        return near.mean(2).clamp(min=_SAME).log().T


def _lowest(numbers: Tensor, count: int) -> Tensor:
    """Return the `count` lowest numbers along the last dimension; on a CPU numpy finds them four times faster."""
    if numbers.device.type != "cpu" or count == numbers.shape[-1]:
        return numbers.topk(count, largest=False, sorted=False).values
    return torch.from_numpy(np.partition(numbers.numpy(), count - 1)[..., :count])
