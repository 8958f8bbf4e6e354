"""The result of probing a model, as text and as ganpatch.toml.

Example:

    format_settings("model.pt", options, probe("model.pt", options))
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ganpatch.families.loading import weights_file
from ganpatch.families.probing import Probed, Question
from ganpatch.generator.load_options import LoadOptions


def probed_lines(found: Probed) -> list[str]:
    """Return lines of text about a probed model."""
    low, high = found.generator.range
    lines = [f"latent  {found.latent}"]
    lines += [f"labels  {found.generator.labels}"] if found.generator.labels else []
    lines += [f"range   {low:g} to {high:g}", f"layer   {', '.join(found.layers) or 'none of at least 8 units'}"]
    lines += [f"note    {note}" for note in found.notes]
    return [*lines, *(f"open    {question.text}" for question in found.questions)]


def probed_json(found: Probed) -> dict[str, Any]:
    """Return the result of probing as JSON."""
    labels = found.generator.labels
    return {
        "latent": found.latent,
        "labels": str(labels) if labels else None,
        "range": found.generator.range,
        "layers": found.layers,
        "notes": found.notes,
        "questions": [{"text": question.text, "options": question.options} for question in found.questions],
    }


def format_settings(model: str, options: LoadOptions, found: Probed) -> str:
    """Return the text of ganpatch.toml: the settings, and every open question as a comment with its options."""
    generator = found.generator
    settings: dict[str, Any] = {"path": model, "arch": options.arch}
    if options.arch is None and weights_file(model) is None:  # the model is code
        settings = {"arch": model}
    settings |= {name: getattr(options, name) for name in ("arch_args", "key", "call", "size", "truncation")}
    settings |= {name: str(value) for name in ("inputs", "repo") if (value := getattr(options, name)) is not None}
    settings["latent"] = found.latent
    settings["labels"] = str(generator.labels) if generator.labels else None
    settings["range"] = list(generator.range)
    parts = ["# Written by 'ganpatch init'. What begins with #? is an open question, and its options behind it."]
    parts += [f"# {note}" for note in found.notes]
    ranked = [question for question in found.questions if question.options[0].startswith("layers")]
    parts += ["", "[model]", *_toml_lines(settings)]
    parts += _question_lines([question for question in found.questions if question not in ranked])
    parts += ["", "[rank]", *_toml_lines({"layers": list(found.layers)}), *_question_lines(ranked)]
    return "\n".join(parts) + "\n"


def _toml_lines(settings: dict[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        if value is not None and value != {}:
            yield f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(name)} = {_toml(entry)}" for name, entry in value.items() if entry is not None)
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(entry) for entry in value)}]"
    return json.dumps(value, ensure_ascii=False)


def _question_lines(questions: Sequence[Question]) -> Iterator[str]:
    for question in questions:
        yield f"#? {question.text}"
        yield from (f"# {option}" for option in question.options)
