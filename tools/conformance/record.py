#!/usr/bin/env python3
"""Every family beside the real code that it comes from: equal images, and everything that a generator must do.

tools/conformance --checkout stylegan3=PATH --checkout rosinality=PATH …    # the families of these checkouts
tools/conformance --checkout diffusers=package                              # a package that is installed
tools/conformance … --write                                                 # and the fixtures, the table in the docs

Nothing is downloaded. Each family runs in a process of its own, with a small model of the real code: its images must
equal those that ganpatch's loader draws from the same file and the same seeds; then tests/support/conformance.py is run
on it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ROOT / "tests" / "families" / "checkpoints"
PAGE = ROOT / "docs" / "families.md"
COLUMNS = ("model", "version", "real code", "load", "seeds", "layers", "rank", "hook", "patch", "bake", "onnx")


def main() -> None:
    asked = arguments()
    if asked.one:
        print("RESULT " + json.dumps(one(asked.one, Path(asked.place), asked.version, asked.write)))
        return
    from tools.conformance.references import REFERENCES

    places = dict(text.partition("=")[::2] for text in asked.checkout)
    versions = dict(text.partition("=")[::2] for text in asked.version_of)
    unknown = sorted(set(places) - {checkout for checkout, _ in REFERENCES.values()})
    if unknown or not places:
        known = ", ".join(sorted({checkout for checkout, _ in REFERENCES.values()}))
        sys.exit(f"--checkout NAME=PATH, NAME one of {known}; not {', '.join(unknown) or 'none at all'}")
    rows, failed = [], []
    for name, (checkout, _) in REFERENCES.items():
        if checkout not in places or (asked.only and name not in asked.only):
            continue
        row = run(name, places[checkout], versions.get(checkout, ""), asked.write)
        print(" | ".join(row.get(column, "-") for column in COLUMNS), flush=True)
        rows.append(row)
        failed += [name] if "fault" in row else []
    if asked.write and not asked.only:
        write_table(rows)
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--version-of", action="append", default=[], metavar="NAME=TEXT", help="for the table")
    parser.add_argument("--only", action="append", metavar="MODEL")
    parser.add_argument("--write", action="store_true")
    for hidden in ("--one", "--place", "--version"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def run(name: str, place: str, version: str, write: bool) -> dict[str, str]:
    """Run one family in a process of its own."""
    command = [sys.executable, "-m", "tools.conformance.record", "--one", name, "--place", place, "--version", version]
    done = subprocess.run([*command, *(["--write"] if write else [])], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    row: dict[str, str] = {"model": name, "version": version}
    if done.returncode or not lines:
        trace = done.stderr.strip() if os.environ.get("GANPATCH_TRACEBACK") else done.stderr.strip().splitlines()[-1:]
        print(f"{name}: {trace if isinstance(trace, str) else ''.join(trace)}", file=sys.stderr)
        return row | {"fault": "failed"}
    return row | json.loads(lines[-1].removeprefix("RESULT "))


def one(name: str, checkout: Path, version: str, write: bool) -> dict[str, str]:
    """Compare one family with the real code; return what each check found."""
    import torch

    import ganpatch
    from tests.support.conformance import SAME, Fixture, conform, photos, pixels_of, raw
    from tools.conformance.references import REFERENCES

    torch.set_num_threads(1)
    reference = REFERENCES[name][1](checkout)
    tensors = {
        key: (str(tensor.dtype).removeprefix("torch."), list(tensor.shape))
        for key, tensor in reference.module.state_dict().items()
    }
    options = {key: value for key, value in reference.options.items() if key != "repo"}
    fixture = Fixture(name, version, tensors, options, reference.config, reference.gain)
    state = reference.module.state_dict() if reference.own_weights else fixture.state()
    reference.module.load_state_dict(state)
    reference.module.eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder), reference, state)
        given = dict(reference.options)
        if str(given.get("latent", "")).startswith("images"):
            given["inputs"] = photos(Path(folder) / "photos")
        generator = ganpatch.load(path, **given)
        args, _ = generator.inputs([0, 1])
        ours = raw(generator, [0, 1])
        with torch.no_grad():
            theirs = reference.draw(*args)
        gap, largest = float((ours - theirs).abs().max()), float(theirs.abs().max())
        assert gap <= SAME * largest, f"images differ from the real code's by {gap:.2g} of {largest:.2g}"
        found = conform(generator, layer=reference.layer, onnx=not reference.own_weights)
    if write and not {"repo", "arch"} & set(reference.options) and not reference.own_weights:
        FAMILIES.mkdir(exist_ok=True)
        Fixture(**{**fixture.__dict__, "pixels": pixels_of(theirs)}).write(FAMILIES / f"{name}.json")
    return {"real code": f"{gap / largest:.0e}", **found}


def save(folder: Path, reference: object, state: dict) -> Path:
    """Save a checkpoint the way that the family does."""
    import pickle

    import torch

    if hasattr(reference.module, "init_kwargs") or type(reference.module).__module__ == "training.networks":
        path = folder / "network.pkl"
        path.write_bytes(pickle.dumps({"G": None, "G_ema": reference.module}))
        return path
    if hasattr(reference.module, "save_pretrained"):
        reference.module.save_pretrained(folder)
        return folder
    if reference.config:
        (folder / "config.json").write_text(json.dumps(reference.config))
    torch.save(state, folder / "model.pt")
    return folder if reference.config else folder / "model.pt"


def write_table(rows: list[dict[str, str]]) -> None:
    """Put the rows between the marks of docs/families.md."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    lines += [f"| {' | '.join(row.get(column, 'failed') for column in COLUMNS)} |" for row in rows]
    before, mark, rest = PAGE.read_text().partition("<!-- conformance -->\n")
    _, end, after = rest.partition("<!-- end of conformance -->")
    PAGE.write_text(f"{before}{mark}" + "\n".join(lines) + f"\n{end}{after}")


if __name__ == "__main__":
    main()
