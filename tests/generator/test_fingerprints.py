from pathlib import Path

import torch
from safetensors.torch import save_file

import ganpatch
from ganpatch import fingerprint
from tests.support.nets import dcgan


def test_the_same_weights_have_one_fingerprint_wherever_they_stand(tmp_path: Path) -> None:
    module, _ = dcgan()
    torch.save(module.state_dict(), tmp_path / "a.pt")
    torch.save({"netG": module.state_dict(), "epoch": 3}, tmp_path / "b.tar")
    save_file(module.state_dict(), tmp_path / "c.safetensors")
    prints = [ganpatch.load(tmp_path / name).fingerprint for name in ("a.pt", "b.tar", "c.safetensors")]
    assert prints == [fingerprint(module)] * 3
    assert fingerprint(torch.nn.DataParallel(module)) == prints[0]


def test_only_parameters_count() -> None:
    module, _ = dcgan()
    before = fingerprint(module)
    module.train()(torch.randn(4, 8, 1, 1))  # moves the BatchNorm statistics
    assert fingerprint(module) == before
    with torch.no_grad():
        module.get_parameter("main.1.bias")[0] += 1e-6
    changed = fingerprint(module)
    assert changed.structure == before.structure
    assert changed.weights != before.weights


def test_other_names_are_another_structure() -> None:
    module, _ = dcgan()
    before = fingerprint(module)
    module.extra = torch.nn.Linear(1, 1)
    assert fingerprint(module).structure != before.structure


def test_dtypes_that_numpy_does_not_know() -> None:
    module, _ = dcgan()
    assert fingerprint(module.bfloat16()).weights != fingerprint(dcgan()[0]).weights
