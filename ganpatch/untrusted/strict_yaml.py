"""YAML with one meaning: a strict reader that says where, and a writer with stable bytes.

    document = read_yaml(text)
    document.data                            # dicts, lists, strings, ints, floats, bools, None
    document.lines[("edits", 0, "units")]    # 12

`yaml.safe_load` reads 1e-3 as a string, 010 as 8 and `on` as True, keeps the last of two equal keys and expands
aliases without bound. Here scalars follow YAML 1.2, and duplicate keys, aliases, tags and odd keys are faults.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}
_NOT_FINITE = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
_DEEPEST = 20
_LONGEST_NUMBER = 40
_MOST_VALUES = 30_000  # each takes a kilobyte while it is read; all units of a large network are 25,000


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a document: its path, and what is wrong."""

    path: Path
    text: str


class YamlFaults(Exception):
    """All faults in the syntax of a document."""

    def __init__(self, faults: list[Fault], lines: dict[Path, int]) -> None:
        super().__init__("; ".join(fault.text for fault in faults))
        self.faults, self.lines = faults, lines


@dataclass(slots=True)
class Document:
    """Plain data, and the line on which each part of it begins."""

    data: Any
    lines: dict[Path, int] = field(default_factory=dict)


def read_yaml(text: str) -> Document:
    """Read one YAML document; raise YamlFaults with all its faults."""
    try:
        root = yaml.compose(text, _Loader)
    except yaml.YAMLError as fault:
        raise YamlFaults([Fault((), _syntax_fault(fault))], {}) from fault
    if root is None:
        raise YamlFaults([Fault((), "the file is empty")], {})
    reader = _Reader()
    data = reader.value(root, ())
    if reader.faults:
        raise YamlFaults(reader.faults, reader.lines)
    return Document(data, reader.lines)


def write_yaml(data: Any) -> str:
    """Return plain data as YAML: keys in their order, lists of plain values on one line, the same bytes every time."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)


def shown_path(path: Path) -> str:
    """Return a path as error messages show it: $.edits[1].units[3]."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


class _Loader(yaml.SafeLoader):
    """Refuses early what would take long to read: aliases, which may unfold without end, deep nesting, many values."""

    depth = 0
    values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise YamlFaults([Fault((), f"line {line}: anchors and aliases are not used in this format")], {})
        if self.depth > _DEEPEST:
            raise YamlFaults([Fault((), f"line {line}: nested more than {_DEEPEST} levels deep")], {})
        self.values += 1
        if self.values > _MOST_VALUES:
            raise YamlFaults([Fault((), f"line {line}: more than {_MOST_VALUES:,} values, keys included")], {})
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.lines: dict[Path, int] = {}

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._refuse_tag(node, path, "tag:yaml.org,2002:seq")
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._refuse_tag(node, path, "tag:yaml.org,2002:map")
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key == "<<":
                self.faults.append(Fault(path, f"line {key_node.start_mark.line + 1}: a key must be a plain word"))
            elif key in found:
                first = self.lines[(*path, key)]
                again = key_node.start_mark.line + 1
                self.faults.append(Fault((*path, key), f"the key is listed twice, on lines {first} and {again}"))
            else:
                found[key] = self.value(value_node, (*path, key))
        return found

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        text = str(node.value)
        if getattr(node, "style", None) in ("'", '"', "|", ">"):
            self._refuse_tag(node, path, "tag:yaml.org,2002:str")
            return text
        if node.tag not in _PLAIN_TAGS:
            self.faults.append(Fault(path, f"the tag {node.tag} is not used in this format"))
            return None
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if len(text) <= _LONGEST_NUMBER and _INT.fullmatch(text):
            return int(text)
        if len(text) <= _LONGEST_NUMBER and _FLOAT.fullmatch(text):
            return float(text)
        return _NOT_FINITE.get(text.lower(), text)

    def _refuse_tag(self, node: yaml.Node, path: Path, plain: str) -> None:
        if node.tag != plain:
            self.faults.append(Fault(path, f"the tag {node.tag} is not used in this format"))


# What PyYAML takes a plain scalar for; its own reading of it is not used.
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
}


class _Dumper(yaml.SafeDumper):
    """Lists of plain values on one line; strings quoted where this reader or PyYAML would read another type."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


def _represent_list(dumper: _Dumper, items: list[Any]) -> yaml.Node:
    plain = all(not isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=plain)


def _represent_string(dumper: _Dumper, text: str) -> yaml.Node:
    ours = _INT.fullmatch(text) or _FLOAT.fullmatch(text) or text in _CONSTANTS or text.lower() in _NOT_FINITE
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if ours else None)


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_string)


def _syntax_fault(fault: yaml.YAMLError) -> str:
    mark = getattr(fault, "problem_mark", None)
    problem = getattr(fault, "problem", None) or str(fault)
    return f"line {mark.line + 1}: {problem}" if mark else problem


def walk(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value of plain data with its path."""
    yield path, data
    if isinstance(data, dict):
        for key, value in data.items():
            yield from walk(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from walk(value, (*path, index))
