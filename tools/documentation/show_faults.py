"""Draws the rows of the review page in which the faults of the bundled generator are seen, for docs/faults.md.

python -m tools.documentation.show_faults
"""

import io

from PIL import Image

import ganpatch
from ganpatch.disk.atomic_files import write_bytes
from ganpatch.pages.image_grids import contact_sheet
from tools.documentation.show_readme import PICTURES
from tools.patches.make_patches import CHURCH_ROWS

SEEDS, SHOWN = range(600), 8
FINE = ("layer4", (0, 3))  # units whose images share no fault


def main() -> None:
    generator = ganpatch.load("churches")
    ranking = ganpatch.rank(generator, ["layer2", "layer4"], SEEDS, k=SHOWN)
    wanted = [(name, row.layer, row.unit) for name, row in CHURCH_ROWS.items()]
    wanted += [("fine", FINE[0], unit) for unit in FINE[1]]
    rows = []
    for name, layer, unit in wanted:
        seeds = ranking[layer].top_seeds[unit].tolist()
        rows.append((name, [ranking.thumbnails[seed] for seed in seeds]))
    sheet = contact_sheet(rows)
    buffer = io.BytesIO()
    sheet.resize((sheet.width * 4 // 5, sheet.height * 4 // 5), Image.Resampling.LANCZOS).save(
        buffer, "JPEG", quality=88
    )
    write_bytes(PICTURES / "faults-churches.jpg", buffer.getvalue())


if __name__ == "__main__":
    main()
