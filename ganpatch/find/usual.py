"""What is usual at each place of a generator's images, and how odd an image is there.

    usual = Usual(maps)                     # feature maps [R, D, h, w] of R of its own images
    usual.oddity(other)                     # [N, h, w] of maps [N, D, h, w]

The oddity of a place is the logarithm of the mean distance to the nearest of what the reference images show at the same
place (a local density, as in anomaly detection by nearest patches: Roth et al. 2022), after the features were made
uncorrelated and of equal size. In the logarithm a fault in a usual scene counts for more than one in a rare scene.
"""

import numpy as np
import torch
from torch import Tensor

NEIGHBOURS = 30
_MOST_DISTANCES = 1 << 22  # held at once
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
        self._near = min(NEIGHBOURS, len(maps))
        self._places = self._by_place(maps)
        self._lengths = self._places.square().sum(2).unsqueeze(1)  # [P, 1, R]

    def oddity(self, maps: Tensor) -> Tensor:
        """Give the oddity [N, h, w] of feature maps [N, D, h, w]."""
        few = max(1, _MOST_DISTANCES // (self._places.shape[0] * self._places.shape[1]))
        return torch.cat([self._oddity(part) for part in maps.split(few)])

    def _oddity(self, maps: Tensor) -> Tensor:
        count, _, height, width = maps.shape
        own = self._by_place(maps)  # [P, N, D]
        squares = torch.baddbmm(self._lengths, own, self._places.transpose(1, 2), alpha=-2)
        squares += own.square().sum(2, keepdim=True)
        distance = _lowest(squares, self._near).clamp(min=0).sqrt().mean(2)  # [P, N]
        return distance.clamp(min=1e-9).log().T.reshape(count, height, width)

    def _by_place(self, maps: Tensor) -> Tensor:
        """Give whitened features [h * w, N, D]."""
        centred = (maps - self._mean[:, None, None]).flatten(2)
        return torch.einsum("ij,njp->pni", self._whiten, centred).contiguous()


def _lowest(numbers: Tensor, count: int) -> Tensor:
    """Give the `count` lowest numbers along the last dimension; on a CPU numpy finds them four times faster."""
    if numbers.device.type != "cpu" or count == numbers.shape[-1]:
        return numbers.topk(count, largest=False, sorted=False).values
    return torch.from_numpy(np.partition(numbers.numpy(), count - 1)[..., :count])
