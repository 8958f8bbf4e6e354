"""Files that the page downloads."""

import io
import tempfile
import zipfile
from pathlib import Path

from fastapi import Response

from ganpatch.patch.patch_file import Patch


def patch_download(patch: Patch) -> Response:
    """Return NAME.yaml, or NAME.zip with the patch and its masks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{patch.name}.yaml"
        patch.save(path)
        masks = path.with_suffix(".safetensors")
        if not masks.exists():
            return _file(path.read_bytes(), path.name, "application/yaml")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in (path, masks):
                archive.write(part, part.name)
        return _file(buffer.getvalue(), f"{patch.name}.zip", "application/zip")


def _file(content: bytes, name: str, kind: str) -> Response:
    return Response(content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
