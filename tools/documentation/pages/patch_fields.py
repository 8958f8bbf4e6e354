"""The fields of a patch file as tables, from its JSON Schema: which there are, of what type, within what bounds.

Example:

    patch_tables(Patch.model_json_schema())
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ganpatch.patch.patch_file import PATTERNS

Schema = Mapping[str, Any]

_PARTS = {
    "Patch": "the file",
    "Model": "`model`",
    "Prints": "`fingerprint`",
    "Edit": "`edits`",
    "Mask": "`mask`",
    "Evidence": "`evidence`",
    "Record": "`records`",
    "Figure": "`figures`",
    "Provenance": "`provenance`",
}
_WORDS = {"string": ("text", "texts"), "integer": ("whole number", "whole numbers"), "number": ("number", "numbers")}


def patch_tables(schema: Schema) -> str:
    """Return a section per part of the file."""
    known = {"Patch": schema, **schema["$defs"]}
    assert known.keys() == _PARTS.keys(), f"parts without a title: {known.keys() ^ _PARTS.keys()}"
    return "\n".join(line for name, title in _PARTS.items() for line in _section(title, known[name])).rstrip()


def _section(title: str, part: Schema) -> Iterator[str]:
    yield from (f"### {title[0].upper()}{title[1:]}", "", part["description"], "")
    yield from ("| field | what it is | type | default | example |", "|---|---|---|---|---|")
    for name, field in part["properties"].items():
        needed = name in part.get("required", ())
        assert field.get("description"), f"field '{name}' says nothing about itself"
        cells = [f"`{name}`", field["description"], _type(field), _default(field, needed), _example(field)]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells).rstrip() + " |"
    yield ""


def _type(field: Schema, many: int = 0) -> str:
    """Describe what a value may be, or what several may be, in words."""
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        name = _PARTS[field["$ref"].rpartition("/")[2]]
        return f"[{name}](#{name.strip('`')})"
    if "anyOf" in field:
        kinds = [_type(kind) for kind in field["anyOf"] if kind.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} {_type(field['prefixItems'][0], many=1)}"
    if field["type"] == "array":
        return f"list of {_type(field['items'], many=1)}"
    if field["type"] == "object":
        inside = field.get("additionalProperties")
        return f"mapping of names, each to {_type(inside)}" if isinstance(inside, dict) else "mapping"
    return " ".join([_WORDS[field["type"]][many], *_bounds(field)])


def _bounds(field: Schema) -> Iterator[str]:
    low, high = field.get("minimum"), field.get("maximum")
    low = field["exclusiveMinimum"] + 1 if "exclusiveMinimum" in field else low
    high = field["exclusiveMaximum"] - 1 if "exclusiveMaximum" in field else high
    if low is not None and high is not None:
        yield f"from {low:,g} to {high:,}"
    elif low is not None:
        yield f"from {low:,g}"
    if "pattern" in field:
        yield f"that {PATTERNS[field['pattern']]}" if field["pattern"] in PATTERNS else f"`{field['pattern']}`"


def _default(field: Schema, needed: bool) -> str:
    if needed:
        return "needed"
    value = field.get("default")
    if isinstance(value, list) and len(value) == 1:  # one number stands for all units
        value = value[0]
    return f"`{json.dumps(value)}`" if value not in (None, "", {}, []) and not isinstance(value, dict) else "none"


def _example(field: Schema) -> str:
    return ", ".join(f"`{json.dumps(example)}`".replace('"', "") for example in field.get("examples", ()))
