"""Every kind of file that ganpatch reads, for tools/robustness/fuzz.py and tests/untrusted/test_fuzz.py."""

from ganpatch.generator.configuration import read_settings
from ganpatch.untrusted.exported_programs import load_program, load_script
from ganpatch.untrusted.torch_files import read_torch
from tests.support import model_files as models
from tests.support import own_files as own
from tests.support.fuzzing import Target

TARGETS: dict[str, Target] = {
    "patch": Target(make=own.make_patch, read=own.read_patch, files=("fix.yaml", "fix.safetensors")),
    "run": Target(make=own.make_run, read=own.read_run, files=("manifest.json", "ranking.safetensors", "thumbs-000.png", "suggestions.json", "suggestions.safetensors", "verdicts.json", "dissection.json", "dissection.safetensors")),
    "partial": Target(make=own.make_partial, read=own.read_partial, files=("partial.safetensors",)),
    "causes": Target(make=own.make_causes, read=own.read_causes, files=("causes.json", "causes.safetensors")),
    "studio": Target(make=own.make_studio, read=own.read_studio, files=own.STUDIO),
    "strokes": Target(make=own.make_strokes, read=own.read_strokes, files=("strokes.json",)),
    "weights": Target(make=models.make_weights, read=models.read_weights, files=("zip.pt", "old.pt", "a.safetensors")),
    "network": Target(make=models.make_network, read=lambda folder: read_torch(folder / "net.pkl"), files=("net.pkl",)),
    "program": Target(make=models.make_program, read=lambda folder: load_program(folder / "a.pt2"), files=("a.pt2",), slow=True),
    "script": Target(make=models.make_script, read=lambda folder: load_script(folder / "a.ts").state_dict(), files=("a.ts",)),
    "graph": Target(make=models.make_graph, read=models.read_graph, files=("a.onnx",)),
    "graph-run": Target(make=models.make_graph, read=models.patch_graph, files=("a.onnx",), slow=True, memory=6 << 30),
    "repaired": Target(make=models.make_repaired, read=models.read_repaired, files=models.REPAIRED),
    "family": Target(make=models.make_family, read=models.read_family, files=(), spoil=models.spoil_family),
    "settings": Target(make=own.make_settings, read=read_settings, files=("ganpatch.toml",)),
    "origin": Target(make=own.make_origin, read=own.read_origin_of_run, files=("run/origin.json",)),
    "inputs": Target(make=own.make_inputs, read=own.read_inputs, files=("photos/0.png", "rows.npy", "rows.safetensors")),
    "words": Target(make=own.make_words, read=own.read_words, files=(), spoil=own.spoil_words),
}  # fmt: skip
