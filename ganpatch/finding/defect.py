"""Defect: find the units that are active where images are broken, from images that a person called broken.

After Tousi et al. (2021), who use a classifier of artifact and normal images, and Grad-CAM to locate the artifact. Here
a small linear probe on the feature maps does both, because people flag only few images: logistic regression of
"broken" on the mean map, whose weights, applied at each position of the map, show which positions speak for it. As in
the paper,

    DS_u = mean over broken images of IoU(unit's mask, probe's mask)

with masks at 0.2 and 0.3 after min-max scaling, and a soft edit of each layer's top fifth: alpha = 1 - 0.8 (1 - DS) for
units that are active there, in [0, 1]. The less a unit is related to the defect, the less it is changed.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.finding.image_features import feature_maps
from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Count, Task
from ganpatch.forward.activations import BATCH, stream

NAME = "defect"
EXPLAINS = "IoU of the unit with where a probe sees the fault, over the images called broken (Tousi 2021)"
UNIT_LEVEL, PROBE_LEVEL = 0.2, 0.3
TOP, KEEP = 0.2, 0.8
_FEWEST = 4
_STEPS, _RIDGE = 200, 0.01


def settings(task: Task) -> dict[str, Any]:
    """Return the settings of the task that the scores depend on."""
    return {"features": task.features.name, "broken": len(task.broken), "references": task.references}


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer; raise GanpatchError if too few broken images are named."""
    if len(task.broken) < _FEWEST:
        raise GanpatchError(f"defect needs images that you call broken; name at least {_FEWEST}: --broken 3,17-19")
    report = Count(task, len(task.broken) + len(task.reference_seeds()))
    broken = feature_maps(task.generator, task.features, task.broken, report).cpu()
    normal = feature_maps(task.generator, task.features, task.reference_seeds(), report).cpu()
    where = scaled(probe(broken, normal)) > PROBE_LEVEL  # [B, h, w]
    ious: list[Tensor] = []

    def on_activation(activation: Tensor, _seeds: object) -> None:
        if activation.ndim != 4:
            raise GanpatchError(f"layer '{layer}' has no maps; defect needs positions")
        maps = F.interpolate(activation.float(), where.shape[-2:], mode="bilinear")
        mask = scaled(maps) > UNIT_LEVEL
        place = sum(len(part) for part in ious)
        wanted = where[place : place + len(mask), None].to(mask.device)
        ious.append((mask & wanted).sum((2, 3)) / (mask | wanted).sum((2, 3)).clamp(min=1))

    for _ in stream(task.generator, {layer: on_activation}, task.broken, batch_size=BATCH, with_images=False):
        pass
    score = torch.cat(ious).mean(0).cpu()
    top = score >= score.topk(max(1, round(TOP * len(score)))).values[-1]
    return Found(score=score, alpha=(1 - KEEP * (1 - score)).clamp(0, 1) * top)


def probe(broken: Tensor, normal: Tensor) -> Tensor:
    """Fit a probe of broken against normal feature maps [N, D, h, w]; return its maps of the broken ones [B, h, w]."""
    both = torch.cat([broken, normal])
    mean, deviation = both.mean((0, 2, 3), keepdim=True), both.std((0, 2, 3), keepdim=True).clamp(min=1e-6)
    broken, normal = (broken - mean) / deviation, (normal - mean) / deviation
    inputs = torch.cat([broken.mean((2, 3)), normal.mean((2, 3))])
    targets = torch.cat([torch.ones(len(broken)), torch.zeros(len(normal))])
    weights = torch.where(targets > 0, 0.5 / len(broken), 0.5 / len(normal))
    slope, offset = torch.zeros(inputs.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam([slope, offset], lr=0.05)
    with torch.enable_grad():
        for _ in range(_STEPS):
            optimizer.zero_grad()
            each = F.binary_cross_entropy_with_logits(inputs @ slope + offset, targets, weights, reduction="sum")
            (each + _RIDGE * slope.square().sum()).backward()
            optimizer.step()
    return torch.einsum("ndhw,d->nhw", broken, slope.detach()).clamp(min=0)


def scaled(maps: Tensor) -> Tensor:
    """Scale each map [..., h, w] linearly to [0, 1]; a constant map becomes 0."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp(min=1e-12)
