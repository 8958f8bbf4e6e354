"""What becomes of each kind of edit at each layer of the small nets: the table that docs/targets.md prints.

test_bake.py bakes every cell of it and fails where the code decides otherwise.
"""

ABLATE, SCALE, CONSTANT, BLEND = "ablate", "scale", "constant", "blend"
COLUMNS = (ABLATE, SCALE, CONSTANT, BLEND)
FOLDS = {
    "conv": COLUMNS,
    "norm": COLUMNS,
    "relu": (ABLATE, SCALE, CONSTANT),
    "scale": (ABLATE, SCALE),
    "ablate": (ABLATE,),
    "none": (),
}
TABLE: dict[str, dict[str, str]] = {
    "dcgan": {"main.0": "conv", "main.1": "norm", "main.2": "relu", "main.4": "norm", "main.5": "relu", "main.6": "scale", "main.7": "ablate"},
    "progressive": {"layer2.norm": "scale", "layer2.conv": "conv", "layer2.wscale": "conv", "layer2.relu": "relu", "layer2": "relu", "layer3.up": "scale", "to_rgb": "conv"},
    "biggan": {"linear": "conv", "block1.bn1": "norm", "block1.bn2": "norm", "block1.conv1": "conv", "block1.skip": "conv", "block1": "conv", "block2": "conv", "bn": "norm", "relu": "relu", "block1.bn1.gain": "conv"},
    "biggan_new_spectral_norm": {"linear": "conv", "block1.conv1": "conv", "block2": "conv", "out": "conv"},
    "weight_normed": {"1": "conv", "2": "relu", "3": "conv", "5": "conv", "6": "conv"},
    "stylegan2": {"mapping.0": "conv", "up": "conv", "conv0": "none", "conv1": "scale", "torgb": "conv", "conv0.affine": "conv"},
    "fastgan": {"init.0": "conv", "init.1": "norm", "init.2": "scale", "up.3": "scale", "native": "scale", "native.0": "conv", "excite.3": "conv", "out": "conv"},
    "vae_decoder": {"conv_in": "conv", "mid.norm1": "norm", "mid": "none", "mid.act": "none", "attention": "scale", "attention.qkv": "conv", "up": "scale", "grow": "conv", "shuffle": "conv", "norm_out": "norm"},
    "unet": {"first": "conv", "act": "relu", "down": "conv", "pool": "relu", "up": "conv", "grouped": "conv", "out": "conv"},
    "repeated": {"first": "conv", "twice": "none", "out": "conv"},
    "in_place_trap": {"conv": "conv", "bn": "norm", "relu": "none"},
}  # fmt: skip


def folds(net: str, layer: str, kind: str) -> bool:
    """Return whether an edit of this kind goes into weights; gated and masked ones never do."""
    return kind in FOLDS[TABLE[net][layer]]


def as_markdown() -> str:
    """Draw the table for the documentation."""
    rows = [f"| net | layer | {' | '.join(COLUMNS)} |", "|---|---|" + "---|" * len(COLUMNS)]
    for net, layers in TABLE.items():
        for layer in layers:
            cells = ["folded" if folds(net, layer, kind) else "inserted" for kind in COLUMNS]
            rows.append(f"| {net} | `{layer}` | {' | '.join(cells)} |")
    return "\n".join(rows)
