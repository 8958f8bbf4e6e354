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

NEIGHBOURS = 30
CLOSEST = 10  # neighbours of oddity: what few images have in common shows among few
_MIDDLE = 250  # of the references say what distance is usual
_MOST_DISTANCES = 1 << 22  # held at once
_SAME = 0.01  # nearer than this is the same: float32 has no better in distances of whitened features
_RIDGE = 0.2  # of the variance of a feature: directions that hardly vary are not blown up further


class Usual:
    """Reference images at every place."""

    def __init__(self, maps: Tensor) -> None:
        _, depth, *_ = maps.shape
        self._mean = maps.mean((0, 2, 3))
        centred = (maps - self._mean[:, None, None]).permute(0, 2, 3, 1).reshape(-1, depth)
        covariance = centred.T.double() @ centred.double() / max(1, len(centred) - 1)
        size = covariance.diagonal().clamp(min=1e-12).sqrt()
        values, axes = torch.linalg.eigh(covariance / size[:, None] / size)
        self._whiten = (axes * (values.clamp(min=0) + _RIDGE).rsqrt() @ axes.T / size).float()
        self._places = self._by_place(maps)
        self._lengths = self._places.square().sum(2).unsqueeze(1)  # [P, 1, R]
        own = self._nearest(maps[:: max(1, len(maps) // _MIDDLE)], CLOSEST, without=1).cpu()
        low, self._middle, high = own.quantile(torch.tensor([0.25, 0.5, 0.75]), 0).to(maps.device)  # each [h, w]
        self._range = high - low

    def distance(self, maps: Tensor) -> Tensor:
        """Give how far from the usual feature maps [N, D, h, w] are at each place [N, h, w]."""
        return self._nearest(maps, NEIGHBOURS)

    def oddity(self, maps: Tensor) -> Tensor:
        """Give how odd that is [N, h, w]: too far from the usual, or too close to some of it."""
        beyond = self._nearest(maps, CLOSEST) - self._middle
        return torch.maximum(beyond, -beyond - self._range)

    def _nearest(self, maps: Tensor, count: int, without: int = 0) -> Tensor:
        """Give the log of the mean distance to `count` neighbours, `without` the first, if that is the image itself."""
        few = max(1, _MOST_DISTANCES // (self._places.shape[0] * self._places.shape[1]))
        return torch.cat([self._nearest_of(part, count, without) for part in maps.split(few)])

    def _nearest_of(self, maps: Tensor, count: int, without: int) -> Tensor:
        images, _, height, width = maps.shape
        own, count = self._by_place(maps), min(count, self._places.shape[1])  # [P, N, D]
        squares = torch.baddbmm(self._lengths, own, self._places.transpose(1, 2), alpha=-2)
        squares += own.square().sum(2, keepdim=True)
        near = _lowest(squares, count).clamp(min=0).sqrt()
        distance = (near.sum(2) - without * near.amin(2)) / max(1, count - without)  # [P, N]
        return distance.clamp(min=_SAME).log().T.reshape(images, height, width)

    def _by_place(self, maps: Tensor) -> Tensor:
        """Give whitened features [h * w, N, D]."""
        centred = (maps - self._mean[:, None, None]).flatten(2)
        return torch.einsum("ij,njp->pni", self._whiten, centred).contiguous()


def _lowest(numbers: Tensor, count: int) -> Tensor:
    """Give the `count` lowest numbers along the last dimension; on a CPU numpy finds them four times faster."""
    if numbers.device.type != "cpu" or count == numbers.shape[-1]:
        return numbers.topk(count, largest=False, sorted=False).values
    return torch.from_numpy(np.partition(numbers.numpy(), count - 1)[..., :count])
