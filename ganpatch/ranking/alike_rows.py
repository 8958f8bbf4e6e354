"""Are the rows of a layer alike? The top images that many units share, which tell no unit from another.

    found = Alikeness.of(ranked)            # a LayerRanking
    found.images, found.share               # 12 images fill 58 % of all places in the top lists
    found.are_alike

In a generator with a few images in which everything is strongly active, for example those of one class, these images
fill the top lists of most units. A score that is relative to how active an image is altogether tells the rows apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ganpatch.ranking.result import LayerRanking, Ranking

ALIKE = 0.25  # share of all places, filled by as many images as one row has, from which rows are alike
FEWEST_UNITS = 32  # rows that are compared: of fewer, some share images by chance
FEWEST = 8  # times as many images as a row has must have been ranked


def rows_by_image(ranked: LayerRanking) -> dict[int, int]:
    """Return in how many rows each top image is, by seed."""
    seeds, counts = ranked.top_seeds.unique(return_counts=True)
    return dict(zip(seeds.tolist(), counts.tolist(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alikeness:
    """How much the rows of a layer share: the `images` most often in them, K, fill a `share` of all places.

    The image `seed` is in the most rows, `rows` of `units`.
    """

    images: int
    share: float
    seed: int
    rows: int
    units: int

    @classmethod
    def of(cls, ranked: LayerRanking) -> "Alikeness":
        """Count how often the images of a layer are in its rows."""
        units, k = ranked.top_seeds.shape
        counts = sorted(((-count, seed) for seed, count in rows_by_image(ranked).items()))
        share = -sum(count for count, _ in counts[:k]) / (units * k)
        return cls(images=k, share=share, seed=counts[0][1], rows=-counts[0][0], units=units)

    @property
    def are_alike(self) -> bool:
        """Return whether the rows can hardly be distinguished."""
        return self.share >= ALIKE

    def text(self, layer: str) -> str:
        """Return it in words."""
        return (
            f"the rows of {layer} are alike: {self.images} images fill {self.share:.0%} of all places, "
            f"and the image of seed {self.seed} is in {self.rows} of {self.units} rows"
        )


def alike_layers(ranking: Ranking) -> Mapping[str, Alikeness]:
    """Return the layers whose rows are alike; none where too few images or units were ranked to tell."""
    if len(ranking.seeds) < FEWEST * ranking.k:
        return {}
    found = {name: Alikeness.of(ranked) for name, ranked in ranking.layers.items() if ranked.units >= FEWEST_UNITS}
    return {name: one for name, one in found.items() if one.are_alike}
