"""Spike: units whose highest activation is far above nearly all others.

The droplets of StyleGAN are drawn in this way; StyleGAN_Blobless cuts activations above 300. The score needs only the
ranking:

    score(u) = (peak - mean) / (99.9 % level - mean)

The suggested edit holds the unit at its 99.9 % level: `above` and `value` at that level.
"""

from typing import Any

from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task

NAME = "spike"
EXPLAINS = "its peak relative to its 99.9 % level, both above its mean: droplets and similar spikes"
_LEAST = 1e-6


def settings(task: Task) -> dict[str, Any]:
    """Return the settings of the task that the scores depend on."""
    return {"images": len(task.ranking.seeds)}


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    ranked = task.ranking[layer]
    span = (ranked.q999 - ranked.mean).clamp(min=_LEAST)
    score = ((ranked.peak - ranked.mean) / span).where(ranked.q999 > ranked.mean + _LEAST, ranked.q999.new_zeros(()))
    return Found(score=score, above=ranked.q999, value=ranked.q999)
