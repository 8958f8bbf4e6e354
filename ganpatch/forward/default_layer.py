"""The layer that is looked at where none is named.

Example:

    layer = default_layer(list_layers(generator)).name
"""

import math
from collections.abc import Sequence

from ganpatch.errors import GanpatchError
from ganpatch.forward.layer_facts import LayerFacts


def default_layer(facts: Sequence[LayerFacts]) -> LayerFacts:
    """Return the layer that GAN Dissection looks at first: the last whole block whose maps are nearest to 8x8.

    Of layers at the same size the least nested one wins, then the later one; at least 8 units.
    """
    maps = [fact for fact in facts if len(fact.size) == 2 and fact.units >= 8 and fact.calls == 1]
    if not maps:
        raise GanpatchError("no layer outputs maps of at least 8 units; choose one with --layer")

    def distance(fact: LayerFacts) -> float:
        return abs(math.log(fact.size[0] * fact.size[1] / 64))

    nearest = min(distance(fact) for fact in maps)
    best = [fact for fact in maps if distance(fact) == nearest]
    depth = min(fact.name.count(".") for fact in best)
    return [fact for fact in best if fact.name.count(".") == depth][-1]
