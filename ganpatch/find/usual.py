"""What is usual at each place of a generator's images, and how odd an image is there.

    usual = Usual(maps)                     # feature maps [R, D, h, w] of R of its own images
    usual.oddity(other)                     # [N, h, w] of maps [N, D, h, w]

The oddity of a place is the logarithm of the mean distance to the nearest of what the reference images show at the same
place (a local density, as in anomaly detection by nearest patches: Roth et al. 2022), after the features were made
uncorrelated and of equal size. In the logarithm a fault in a usual scene counts for more than one in a rare scene.
"""

import torch
from torch import Tensor

NEIGHBOURS = 10
_RIDGE = 0.05  # of the variance of a feature: directions that hardly vary are not blown up further


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

    def oddity(self, maps: Tensor) -> Tensor:
        """Give the oddity [N, h, w] of feature maps [N, D, h, w]."""
        count, _, height, width = maps.shape
        rows = [
            torch.cdist(own, usual).topk(self._near, 1, largest=False, sorted=False).values.mean(1)
            for own, usual in zip(self._by_place(maps), self._places, strict=True)
        ]
        return torch.stack(rows, 1).clamp(min=1e-9).log().reshape(count, height, width)

    def _by_place(self, maps: Tensor) -> Tensor:
        """Give whitened features [h * w, N, D]."""
        centred = (maps - self._mean[:, None, None]).flatten(2)
        return torch.einsum("ij,njp->pni", self._whiten, centred).contiguous()
