"""The bundled generator and the scenes that it was trained on."""

import numpy as np
import pytest
import torch

from ganpatch import Generator
from ganpatch.families.churches.__init__ import WEIGHTS
from ganpatch.families.churches.scenes import CONCEPTS, SLOTS, draw, draw_slots, slots_of
from ganpatch.forward.activations import list_layers


def test_a_scene_is_a_function_of_its_seed() -> None:
    one, again, other = draw(2_000_000), draw(2_000_000), draw(2_000_001)
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.labels, again.labels)
    assert not np.array_equal(one.image, other.image)
    assert one.image.shape == (64, 64, 3)
    assert one.labels.shape == (64, 64)
    assert np.array_equal(draw_slots(slots_of(2_000_000)).image, one.image)
    assert slots_of(3).shape == (SLOTS,)


def test_scenes_show_every_concept() -> None:
    labels = np.stack([draw(seed).labels for seed in range(2_000_000, 2_000_200)])
    shares = {name: (labels == index).mean() for index, name in enumerate(CONCEPTS)}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["sky"] > 0.25
    assert shares["grass"] > 0.15
    assert min(shares.values()) > 0.003, shares
    assert ((labels == CONCEPTS.index("building")).any((1, 2))).mean() > 0.98, "a church in every scene"
    assert 0.2 < ((labels == CONCEPTS.index("tree")).any((1, 2))).mean() < 0.98


def test_labels_lie_where_the_pixels_are() -> None:
    """Within a scene each concept is more of one colour than the scene as a whole."""
    inside, overall = [], []
    for seed in range(2_000_000, 2_000_040):
        scene = draw(seed)
        pixels = scene.image.reshape(-1, 3).astype(float)
        overall.append(pixels.std(0).mean())
        labels = scene.labels.ravel()
        inside += [pixels[labels == index].std(0).mean() for index in range(len(CONCEPTS)) if (labels == index).sum() > 8]  # fmt: skip
    assert np.mean(inside) < 0.5 * np.mean(overall)


def test_the_generator_is_what_its_card_says(churches: Generator) -> None:
    facts = {fact.name: fact for fact in list_layers(churches)}
    assert [name for name in facts if name.count(".") == 0] == [f"layer{n}" for n in range(1, 11)] + ["to_rgb"]
    assert (facts["layer4"].units, facts["layer4"].size) == (256, (8, 8))
    assert WEIGHTS.stat().st_size < 8_000_000
    assert churches.sample([0]).shape == (1, 3, 64, 64)
    card = WEIGHTS.with_name("CARD.md").read_text()
    for word in ("Data", "Training", "seeds", "minutes", "Known artifacts"):
        assert word in card


def test_its_images_are_near_to_scenes(churches: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sliced Wasserstein distance to held-out scenes: far below that of flat, blurred or random pictures."""
    from tools.training.train_churches import as_floats, sliced_wasserstein

    real = as_floats(np.stack([draw(seed).image for seed in range(2_000_000, 2_000_256)]))
    other = as_floats(np.stack([draw(seed).image for seed in range(2_000_256, 2_000_512)]))
    drawn = churches.sample(range(256)) * 2 - 1
    blurred = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(other, 4), scale_factor=4, mode="bilinear")
    distance = sliced_wasserstein(drawn, real)
    assert sliced_wasserstein(other, real) < distance < 0.6 * sliced_wasserstein(blurred, real)
    assert drawn.std(0).mean() > 0.2, "they differ from each other"
