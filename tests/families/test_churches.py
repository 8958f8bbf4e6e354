"""The bundled generator and the scenes that it was trained on."""

import numpy as np
import pytest
import torch

from ganpatch import Generator
from ganpatch.families.churches import WEIGHTS
from ganpatch.families.churches.faults import FAULTS, FIRST_SLOT, LEVELS, RATES
from ganpatch.families.churches.scenes import CONCEPTS, SLOTS, THINGS, draw, draw_slots, slots_of
from ganpatch.forward.layer_facts import list_layers


def test_a_scene_is_a_function_of_its_seed() -> None:
    one, again, other = draw(2_000_000), draw(2_000_000), draw(2_000_001)
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.labels, again.labels)
    assert not np.array_equal(one.image, other.image)
    assert one.image.shape == one.clean.shape == (128, 128, 3)
    assert one.labels.shape == one.clean_labels.shape == (128, 128)
    assert np.array_equal(draw_slots(slots_of(2_000_000)).image, one.image)
    assert slots_of(3).shape == (SLOTS,)


def test_only_the_direction_of_the_slots_counts() -> None:
    """The generator divides z by its root mean square first, so the scene must not depend on it."""
    slots = slots_of(2_000_003)
    assert np.array_equal(draw_slots(slots).image, draw_slots(2.5 * slots).image)


def test_scenes_show_every_concept() -> None:
    labels = np.stack([draw(seed).clean_labels for seed in range(2_000_000, 2_000_200)])
    shares = {name: (labels == index).mean() for index, name in enumerate(THINGS)}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["sky"] > 0.25
    assert shares["grass"] > 0.15
    assert min(shares.values()) > 0.01, shares
    assert ((labels == THINGS.index("building")).any((1, 2))).all(), "a church in every scene"
    assert 0.2 < ((labels == THINGS.index("tree")).any((1, 2))).mean() < 0.98


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_its_mask_and_nothing_else(name: str) -> None:
    slots = slots_of(2_000_004)
    slots[FIRST_SLOT:] = -1
    slots[FIRST_SLOT + 2 * FAULTS.index(name)] = 2.5
    scene = draw_slots(slots)
    assert list(scene.faults) == [name]
    mask = scene.faults[name]
    assert np.array_equal(scene.image[~mask], scene.clean[~mask])
    assert (np.abs(scene.image.astype(int) - scene.clean)[mask].max(-1) > 8).mean() > 0.8
    assert (scene.labels[mask] == CONCEPTS.index(name)).all()
    assert np.array_equal(scene.labels[~mask], scene.clean_labels[~mask])
    clean = draw_slots(slots, faults=False)
    assert np.array_equal(clean.image, scene.clean)
    assert not clean.faults


def test_faults_are_as_frequent_as_they_should_be() -> None:
    slots = np.stack([slots_of(seed) for seed in range(2_000_000, 2_010_000)])
    slots /= np.sqrt((slots**2).mean(1, keepdims=True))
    for number, (name, rate) in enumerate(RATES.items()):
        assert (slots[:, FIRST_SLOT + 2 * number] > LEVELS[name]).mean() == pytest.approx(rate, abs=0.01)


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
    assert [name for name in facts if name.count(".") == 0] == [f"layer{n}" for n in range(1, 13)] + ["to_rgb"]
    assert (facts["layer4"].units, facts["layer4"].size) == (256, (8, 8))
    assert WEIGHTS.stat().st_size < 8_000_000
    assert churches.sample([0]).shape == (1, 3, 128, 128)
    card = WEIGHTS.with_name("CARD.md").read_text()
    for word in ("Data", "Training", "seeds", "minutes", "Known artifacts"):
        assert word in card


def test_its_images_are_near_to_scenes(churches: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sliced Wasserstein distance to held-out scenes: far below that of flat, blurred or random pictures."""
    from tools.training.church_measures import shrunk, sliced_wasserstein
    from tools.training.church_scenes import as_floats

    real = as_floats(np.stack([draw(seed).image for seed in range(2_000_000, 2_000_128)]))
    other = as_floats(np.stack([draw(seed).image for seed in range(2_000_256, 2_000_384)]))
    drawn = shrunk(churches.sample(range(128)) * 2 - 1, 64)
    real, other = shrunk(real, 64), shrunk(other, 64)
    blurred = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(other, 4), scale_factor=4, mode="bilinear")
    distance = sliced_wasserstein(drawn, real)
    assert sliced_wasserstein(other, real) < distance < 0.6 * sliced_wasserstein(blurred, real)
    assert drawn.std(0).mean() > 0.2, "they differ from each other"
