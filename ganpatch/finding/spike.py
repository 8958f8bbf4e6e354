"""Spike: units whose highest activation stands far above nearly all others.

StyleGAN's droplets are drawn this way, and StyleGAN_Blobless cuts what exceeds 300. The score needs the ranking alone:

    score(u) = (peak - mean) / (99.9 % level - mean)

The edit that is suggested holds the unit at its 99.9 % level: `above` and `value` there.
"""

from typing import Any

from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task

NAME = "spike"
EXPLAINS = "its peak over its 99.9 % level, both from its mean: droplets and other outbursts"
_LEAST = 1e-6


def settings(task: Task) -> dict[str, Any]:
    """Describe what of the task the scores depend on."""
    return {"images": len(task.ranking.seeds)}


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    ranked = task.ranking[layer]
    span = (ranked.q999 - ranked.mean).clamp(min=_LEAST)
    score = ((ranked.peak - ranked.mean) / span).where(ranked.q999 > ranked.mean + _LEAST, ranked.q999.new_zeros(()))
    return Found(score=score, above=ranked.q999, value=ranked.q999)
