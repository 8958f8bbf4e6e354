"""What is typical at each position of a generator's images: the distance of an image from it, and its oddity.

    typical = Typical(maps)                 # feature maps [R, D, h, w] of R images of the generator
    typical.distance(other)                 # [N, h, w] for maps [N, D, h, w]
    typical.oddity(other)                   # [N, h, w]

The distance at a position is the logarithm of the mean distance to the nearest features of the reference images there
(a local density, as in anomaly detection by nearest patches: Roth et al. 2022), after whitening. Because of the
logarithm, a fault in a common scene counts for more than one in a rare scene.

An image is odd if it is far from all others, and also if it is far too close to some: a black bar, a stamp or a dead
patch looks the same in all images that have it, and its density alone would make it the most typical thing of all. With
d the distance to few neighbours, m its median over the references (each without itself), and q the interquartile range,

    oddity = max(d - m, m - q - d)

measures both sides, as in the test for typicality of Nalisnick et al. (2019).
"""

import numpy as np
import torch
from torch import Tensor

NEIGHBOURS = 15  # of distances, among every second reference: accurate enough, in half the time
CLOSEST = 10  # neighbours of oddity: few, to detect what only few images have in common
_EVERY = 2
_MIDDLE = 250  # references from which the typical distance is estimated
_MOST_DISTANCES = 1 << 22  # in memory at once
_SAME = 0.01  # smaller distances count as zero: the precision of float32 for whitened features
_RIDGE = 0.2  # of the variance of a feature: limits how much directions of small variance are scaled up


class Typical:
    """Reference images at every position."""

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
        between = self._all.nearest(places[:, own], CLOSEST - 1, own).cpu()  # the closest one is the image itself
        low, middle, high = between.quantile(torch.tensor([0.25, 0.5, 0.75]), 0).to(maps.device)  # each [P]
        self._middle, self._range = middle.view(*size), (high - low).view(*size)

    def distance(self, maps: Tensor, own: Tensor | None = None) -> Tensor:
        """Return the distance [N, h, w] of feature maps [N, D, h, w] from the typical at each position.

        `own` [N] is the index of each image in the references, or -1: an image is not its own neighbour.
        """
        if own is not None:
            own = torch.where(own % _EVERY == 0, own // _EVERY, -1)
        found = self._some.nearest(self._by_place(maps), NEIGHBOURS, own)
        return found.view(len(maps), *maps.shape[2:])

    def oddity(self, maps: Tensor) -> Tensor:
        """Return the oddity [N, h, w] of maps [N, D, h, w]: too far from all references, or too close to some."""
        found = self._all.nearest(self._by_place(maps), CLOSEST)
        beyond = found.view(len(maps), *maps.shape[2:]) - self._middle
        return torch.maximum(beyond, -beyond - self._range)

    def _by_place(self, maps: Tensor) -> Tensor:
        """Return whitened features [h * w, N, D]."""
        centred = (maps - self._mean[:, None, None]).flatten(2)
        return torch.einsum("ij,njp->pni", self._whiten, centred).contiguous()


class _References:
    """Points [P, R, D] of R reference images at P positions."""

    def __init__(self, points: Tensor) -> None:
        self._points = points
        self._lengths = points.square().sum(2).unsqueeze(1)  # [P, 1, R]

    def nearest(self, points: Tensor, count: int, own: Tensor | None = None) -> Tensor:
        """Return the log of the mean distance [N, P] of points [P, N, D] to the nearest `count`, without `own` [N]."""
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
    """Return the `count` lowest numbers along the last dimension; on a CPU, numpy is four times faster."""
    if numbers.device.type != "cpu" or count == numbers.shape[-1]:
        return numbers.topk(count, largest=False, sorted=False).values
    return torch.from_numpy(np.partition(numbers.numpy(), count - 1)[..., :count])
