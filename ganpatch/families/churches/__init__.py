"""The bundled generator: a small Progressive GAN trained on the project's own scenes. Its card is CARD.md."""

from pathlib import Path

WEIGHTS = Path(__file__).with_name("churches.safetensors")
