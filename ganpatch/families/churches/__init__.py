"""The bundled generator: a small Progressive GAN trained on the project's own scenes. Its card is CARD.md.

STUDY is what is known of its units: `causes` and `dissection` as the commands write them, the edits of the patch that
ships (`patch.yaml`), and images to begin with (`first.json`). `python -m tools.training.study_churches` makes it.
"""

from pathlib import Path

WEIGHTS = Path(__file__).with_name("churches.safetensors")
STUDY = Path(__file__).with_name("study")
