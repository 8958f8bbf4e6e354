#!/usr/bin/env python3
"""Every family that has a fixture beside its export to ONNX: does the graph rank the units as the torch module does?

python -m tools.conformance.graphs              # all of them, in some minutes
python -m tools.conformance.graphs gandissect

Prints the layer and the largest difference of scores, as a share of the largest; other top images are a failure.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import ganpatch
from tests.support.conformance import Fixture, check_graph, photos

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "families" / "checkpoints"


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in FIXTURES.glob("*.json"))
    failed = []
    with TemporaryDirectory() as folder:
        pictures = photos(Path(folder) / "photos")
        for name in names:
            try:
                found = one(name, pictures)
            except (AssertionError, ganpatch.GanpatchError) as fault:
                failed.append(name)
                found = f"FAILED: {str(fault)[:200]}"
            print(f"{name}: {found}", flush=True)
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)}")


def one(name: str, pictures: Path) -> str:
    """Compare one family with its export."""
    fixture = Fixture.read(FIXTURES / f"{name}.json")
    given: dict[str, Any] = dict(fixture.options)
    with TemporaryDirectory() as text:
        folder = Path(text)
        torch.save(fixture.state(), folder / "model.pt")
        if fixture.config:
            (folder / "config.json").write_text(json.dumps(fixture.config))
        fed = {"inputs": pictures} if str(given.get("latent", "")).startswith("images") else {}
        generator = ganpatch.load(folder / "model.pt", **{**given, **fed})
        return check_graph(generator, folder, fed)


if __name__ == "__main__":
    main()
