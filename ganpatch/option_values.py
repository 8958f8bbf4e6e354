"""The words that options take, and their defaults: what the help of a command and completion show.

This module imports nothing, so that both start without torch. Where a word names something that can be imported, the
room that holds it keeps the registry, and tests/project/test_option_values.py compares the two.
"""

from typing import Literal, get_args

Score = Literal["max", "mean", "q99", "relative"]  # an image's score for a unit, over the unit's map
Dtype = Literal["float32", "bfloat16", "float16"]
Mode = Literal["auto", "fold", "insert"]  # how an edit goes into a file
By = Literal["alpha", "ace", "iou"]  # what orders the units of a cause
Level = Literal["mean", "q99", "q999"]  # of an insertion: class-conditional mean, quantiles

SCORES: tuple[Score, ...] = get_args(Score)
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
MODES: tuple[Mode, ...] = get_args(Mode)
ORDERS: tuple[By, ...] = get_args(By)
LEVELS: tuple[Level, ...] = get_args(Level)

GENERATORS = ("churches",)  # those that ship with the package
METHODS = ("first-look", "typicality", "oddity", "rarity", "spike", "fd", "defect", "weights")
DEFAULT_METHOD = "first-look"
SETS = "sets"  # of units that draw a fault together, instead of an order
PRESETS = ("sparse", "reference", "paper")
DEFAULT_PRESET = "sparse"

PLAIN, INCEPTION, CHURCHES, LITE = "plain", "inception", "churches", "efficientnet-lite0"
TORCHVISION, DINO = "torchvision:", "dinov2:"
FEATURES = (PLAIN, CHURCHES, INCEPTION, LITE, TORCHVISION, DINO)
FEATURE_SPECS = "plain, churches, inception, efficientnet-lite0, torchvision:NAME, dinov2:NAME, file.py:factory"

DEFAULT_SEGMENTER = "churches"
SEGMENTERS = (DEFAULT_SEGMENTER, "torchvision:", "transformers:", "onnx:", "strokes:")
SEGMENTER_SPECS = "churches, torchvision:NAME, transformers:NAME, onnx:FILE, strokes:FILE, file.py:factory, a plugin"

# Seeds are apart from each other, so that nothing is measured on images that it was chosen on.
TRAINING_SEEDS, HELD_OUT_SEEDS = range(300_000, 300_256), range(400_000, 400_128)  # of causes
EFFECT_SEEDS = range(200)  # of what a patch does to images: it is looked at, and not measured
EVALUATION_SEEDS = range(20_000, 21_000)
TUNING_SEEDS = range(30_000, 30_500)
JUDGING_SEEDS = range(60_000, 61_000)
CONCEPT_PATCH_SEEDS = range(500_000, 500_128)

FEWEST_IMAGES = 50  # of an evaluation: the fifth of them is the least that a Fréchet distance can be taken of
BASELINES = 20  # sets of random units that a patch is compared with

WEIGHTS_SUFFIXES = (".pt", ".pth", ".tar", ".ckpt", ".bin", ".safetensors", ".pkl", ".pt2", ".ts", ".onnx")
PATCH_SUFFIXES = (".yaml", ".yml")
