"""The words that options take are those of the registries that they come from."""

from ganpatch import option_values
from ganpatch.causes.alphas import PRESETS
from ganpatch.families.loading import BUNDLED
from ganpatch.finding.image_features import load_features
from ganpatch.finding.methods import DEFAULT, METHODS
from ganpatch.segmenters import bundled
from ganpatch.segmenters.loading import KINDS


def test_the_words_are_those_of_the_registries() -> None:
    assert list(METHODS) == list(option_values.METHODS)
    assert option_values.DEFAULT_METHOD == DEFAULT
    assert list(PRESETS) == list(option_values.PRESETS)
    assert list(BUNDLED) == list(option_values.GENERATORS)
    assert {word.rstrip(":") for word in option_values.SEGMENTERS} == {bundled.NAME, "strokes", *KINDS}
    assert option_values.DEFAULT_SEGMENTER == bundled.NAME


def test_features_of_these_names_exist() -> None:
    assert [load_features(name).name for name in ("plain", "churches")] == ["plain", "churches"]


def test_no_seeds_are_of_two_purposes() -> None:
    ranges = [value for name, value in vars(option_values).items() if name.endswith("_SEEDS")]
    assert len(ranges) == 7
    assert sum(map(len, ranges)) == len(set().union(*ranges))
