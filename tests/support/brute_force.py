"""What numeric functions are compared with: one unit and one concept after the other, in plain code."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor


def iou_and_accuracy(activation: Tensor, labels: Tensor, thresholds: Tensor, concepts: int) -> tuple[Tensor, Tensor]:
    """Return the IoU and the accuracy [C, concepts] of units [N, C, h, w] against labels [N, H, W]."""
    up = F.interpolate(activation, labels.shape[1:], mode="bilinear", align_corners=False)
    iou, accuracy = torch.zeros(2, activation.shape[1], concepts)
    for unit, concept in itertools.product(range(activation.shape[1]), range(concepts)):
        above = up[:, unit] > thresholds[unit, min(concept, thresholds.shape[1] - 1)]
        there = labels == concept
        iou[unit, concept] = (above & there).sum() / (above | there).sum().clamp(min=1)
        accuracy[unit, concept] = (above == there).float().mean()
    return iou, accuracy
