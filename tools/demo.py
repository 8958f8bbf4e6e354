"""The main job on the bundled generator, from ranking to a repaired ONNX file: what `make demo` runs.

Example:

    python tools/demo.py            # writes the folder demo/
"""

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GANPATCH = Path(sys.executable).parent / "ganpatch"
PATCH = "patches/churches.yaml"

STEPS = {
    "Rank every unit of layer4 by its top-activating images over 1000 samples": (
        "rank churches --layer layer4 --n 1000 -o demo/run --overwrite"
    ),
    "Show what the patch that ships with churches does": f"patch show {PATCH}",
    "Draw images without and with it, the most changed first": (
        f"sample churches --patch {PATCH} --before-after --seeds 1000-1255 --first 24 -o demo/before-after.png"
    ),
    "Fold it into the weights": f"apply churches {PATCH} -o demo/churches.fixed.safetensors",
    "Export the repaired generator, and compare it with torch in onnxruntime": (
        f"export churches {PATCH} -o demo/churches.onnx"
    ),
    "Run hooks, weights and graph beside each other": (
        f"verify churches {PATCH} demo/churches.fixed.safetensors demo/churches.onnx"
    ),
}

FILES = {
    "demo/run/index.html": "the review page: open it in a browser, it needs no server (keys: j k f r u h)",
    "demo/before-after.png": "images before and after the patch: any picture viewer",
    "demo/churches.fixed.safetensors": 'repaired weights: ganpatch.load("demo/churches.fixed.safetensors")',
    "demo/churches.onnx": 'the repaired generator: onnxruntime.InferenceSession("demo/churches.onnx"), or netron.app',
}


def main() -> None:
    for title, arguments in STEPS.items():
        print(f"\n# {title}\n$ ganpatch {arguments}", flush=True)
        done = subprocess.run([GANPATCH, *shlex.split(arguments)], cwd=ROOT, check=False)
        if done.returncode:
            sys.exit(done.returncode)
    print("\nDone. What there is now:")
    for name, what in FILES.items():
        assert (ROOT / name).exists(), name
        print(f"  {name:33} {what}")
    print("\nNext: flag units of your own, and see what they do:")
    print("  .venv/bin/ganpatch review demo/run --open")
    print("  .venv/bin/ganpatch flag demo/run -o fix.yaml")
    print("  .venv/bin/ganpatch sample churches --patch fix.yaml --before-after -o pairs.png")


if __name__ == "__main__":
    main()
