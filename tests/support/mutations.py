"""Valid files, spoilt: by their structure (numbers in heads, keys of JSON, entries of archives, opcodes) or byte by byte.

    spoilt("manifest.json", content, Dice(b"\\x03\\x91…"))

All choices come from the bytes of a Dice, so that hypothesis and atheris can both drive them, and shrink them. Zeros and
nothing choose the simplest.
"""

import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import onnx

_Item = TypeVar("_Item")

NUMBERS: tuple[Any, ...] = (0, -1, 1, 2, 255, 65536, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**12, 10**30, -(2**63), 0.5, 1e308, float("nan"), float("inf"), True, None)  # fmt: skip
TEXTS = ("", "0-999999999999", "../../etc/passwd", "/etc/passwd", "a\0b", "a\nb", "\ud800", "__proto__", "<script>alert(1)</script>", "normal:999999,999999", "onehot:9999999", "sha256:" + "0" * 64, "x" * 5000, "main.5", "layer4", "C:\\x", "nul")  # fmt: skip
TOKENS = (b"[" * 200, b"{" * 200, b"&a ", b"*a", b"!!python/object:os.system ", b"99999999999999999999", b"1e999", b".nan", b"-", b"\0", b'"', b"0-999999999999", b"null", b"true", b"[]", b"{}", b"\xff\xfe", b"? ", b"'''", b"a = " + b"[" * 300)  # fmt: skip


class Dice:
    """Choices out of bytes."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def below(self, count: int) -> int:
        """Return a number below `count`."""
        size = max(1, (count.bit_length() + 7) // 8)
        part = self._content[self._place : self._place + size]
        self._place += size
        return int.from_bytes(part, "little") % max(count, 1)

    def one(self, items: Sequence[_Item]) -> _Item:
        """Return one of several."""
        return items[self.below(len(items))]

    def part(self) -> bytes:
        """Return a few bytes as they come."""
        size = self.below(9)
        found = self._content[self._place : self._place + size]
        self._place += size
        return found

    @property
    def is_empty(self) -> bool:
        """Whether all has been used."""
        return self._place >= len(self._content)


def spoilt(name: str, content: bytes, dice: Dice) -> bytes:
    """Spoil a file once or a few times, most often by its structure."""
    for _ in range(1 + dice.below(3)):
        by_kind = _KINDS.get(name.rpartition(".")[2], _spoil_bytes)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = by_kind(content, dice) if dice.below(4) else _spoil_bytes(content, dice)
        except Exception:  # it is no longer a file of that kind
            content = _spoil_bytes(content, dice)
        if dice.is_empty:
            break
    return content


def _spoil_bytes(content: bytes, dice: Dice) -> bytes:
    start = dice.below(len(content) + 1)
    end = min(len(content), start + 1 + dice.below(64))
    numbers = [struct.pack(kind, number) for kind, number in (("<Q", 2**63), ("<Q", 2**40), ("<I", 2**31), ("<I", 2**20), ("<i", -1), ("<q", -1))]  # fmt: skip
    how = dice.below(8)
    if how == 0:
        return content[:start]
    if how == 1:
        flipped = bytes([content[start] ^ (1 << dice.below(8))]) if start < len(content) else b""
        return content[:start] + flipped + content[start + 1 :]
    if how == 2:
        return content[:start] + content[end:]
    if how == 3:
        return content[:end] + content[start:]
    if how == 4:
        return content[:start] + dice.part() + content[start:]
    if how == 5:
        number = dice.one(numbers)
        return content[:start] + number + content[start + len(number) :]
    if how == 6:
        return content[:start] + dice.one(TOKENS) + content[start:]
    return content[:start] + dice.one(TOKENS) + content[end:]


# ---- JSON ---------------------------------------------------------------------------------------------------------


def _spoil_json(content: bytes, dice: Dice) -> bytes:
    return _json(_changed(json.loads(content), dice)).encode("utf-8", "surrogatepass")


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))


def _changed(content: Any, dice: Dice) -> Any:
    """Change one place of plain data."""
    places = list(_places(content))
    path = dice.one(places)
    return _replaced(content, path, dice)


def _places(content: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    if isinstance(content, dict):
        for key in content:
            yield from _places(content[key], (*path, key))
    elif isinstance(content, list):
        for index in range(min(len(content), 4)):
            yield from _places(content[index], (*path, index))


def _replaced(content: Any, path: tuple[Any, ...], dice: Dice) -> Any:
    if not path:
        return _other(content, dice)
    content = dict(content) if isinstance(content, dict) else list(content)
    if len(path) == 1 and dice.below(5) == 4:
        if isinstance(content, dict):
            value = content.pop(path[0])
            return content if dice.below(2) else {**content, dice.one([*TEXTS, *content, "x"]): value}
        return content[: path[0]] + content[path[0] + 1 :]
    content[path[0]] = _replaced(content[path[0]], path[1:], dice)
    return content


def _other(content: Any, dice: Dice) -> Any:
    how = dice.below(5)
    if how == 0:
        return dice.one(NUMBERS)
    if how == 1:
        return dice.one(TEXTS)
    if how == 2:
        return [content] * dice.one([0, 1, 2, 1000])
    if how == 3:
        return {dice.one(TEXTS): content}
    for _ in range(dice.one([5, 50, 5000])):
        content = [content]
    return content


# ---- text that is neither -------------------------------------------------------------------------------------------


def _spoil_words(content: bytes, dice: Dice) -> bytes:
    """Put a token into the place of a word."""
    words = content.split(b" ")
    words[dice.below(len(words))] = dice.one([*TOKENS, *(text.encode(errors="replace") for text in TEXTS)])
    return b" ".join(words)


# ---- safetensors, numpy ---------------------------------------------------------------------------------------------


def _spoil_safetensors(content: bytes, dice: Dice) -> bytes:
    size = int.from_bytes(content[:8], "little")
    head, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    if dice.below(6) == 5:  # numbers that are none
        start = dice.below(len(body) + 1) // 8 * 8
        return content[: 8 + size + start] + b"\xff" * 8 + content[16 + size + start :]
    if "__metadata__" in head and dice.below(2):
        metadata = head["__metadata__"]
        key = dice.one(sorted(metadata))
        metadata[key] = _spoil_json(metadata[key].encode(), dice).decode(errors="replace")
    else:
        head = _changed(head, dice)
    text = _json(head).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def _spoil_npy(content: bytes, dice: Dice) -> bytes:
    size = int.from_bytes(content[8:10], "little")
    head = content[10 : 10 + size].decode()
    shapes = ("(99999999999, 4)", "(0, 4)", "(4,)", "()", "(-1, 4)", "(2, 2)")
    kinds = ("'|O'", "'<U4'", "'<c16'", "'<M8[s]'", "'>f8'", "'|V9'", "[('a', '<f4')]")
    changed = head.replace("(6, 4)", dice.one(shapes)) if dice.below(2) else head.replace("'<f4'", dice.one(kinds))
    text = changed.strip().encode().ljust(117) + b"\n"
    return content[:8] + len(text).to_bytes(2, "little") + text + content[10 + size :]


# ---- archives, pickles ------------------------------------------------------------------------------------------------


def _spoil_zip(content: bytes, dice: Dice) -> bytes:
    """Spoil an entry, or the list of them; what another program would write again is written again."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        entries = [(name, source.read(name)) for name in source.namelist()]
    how, place = dice.below(8), dice.below(len(entries))
    name, inside = entries[place]
    if how < 4:
        kind = "zip" if inside.startswith(b"PK") else name.rpartition(".")[2]
        entries[place] = (name, spoilt(f"x.{kind}", inside, dice))
    elif how == 4:
        del entries[place]
    elif how == 5:
        entries.append((name, dice.one(TOKENS)))
    elif how == 6:
        folder = name.partition("/")[0]
        names = ("../x", "/x", "data/x", "extra/a", "code/x.py", "a\\b", "models/m.json", "data/aotinductor/x.so", "data.pkl", "byteorder", "version")  # fmt: skip
        entries.append((f"{folder}/{dice.one(names)}", dice.one(TOKENS)))
    else:
        entries[place] = (name, inside + bytes(dice.one([10, 100_000, 80_000_000])))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED if how == 7 else zipfile.ZIP_STORED) as target:
        for name, inside in entries:
            target.writestr(name, inside)
    return made.getvalue()


def _spoil_pickle(content: bytes, dice: Dice) -> bytes:
    """Put another opcode, name or number into a pickle."""
    opcodes = (b"cos\nsystem\n", b"ctorch\nsave\n", b"cbuiltins\nbytearray\n", b"c_codecs\nencode\n", b"cnumpy\nndarray\n", b"ctorch\nTensor\n", b"J\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"r\xff\xff\xff\xff", b"\x96" + b"\xff" * 4 + b"\0" * 4, b"\x95" + b"\xff" * 7 + b"\0", b"R", b"b", b"(", b"t", b"\x81", b"0", b"2", b"}", b"]", b"h\0", b"Q", b"u", b"s", b"K\xff", b"K\0", b"X\xff\xff\xff\x7f")  # fmt: skip
    at = dice.below(len(content))
    gone = dice.one([0, 1, 2, 5])
    return content[:at] + dice.one(opcodes) + content[at + gone :]


def _spoil_torch(content: bytes, dice: Dice) -> bytes:
    return _spoil_zip(content, dice) if content.startswith(b"PK") else _spoil_pickle(content, dice)


# ---- pictures, graphs -------------------------------------------------------------------------------------------------


def _spoil_png(content: bytes, dice: Dice) -> bytes:
    """Claim another size, depth or kind in the head, with the right checksum."""
    sizes = (0, 1, 7, 4096, 30_000, 2**31 - 1, 2**32 - 1)
    head = content[16:29]
    how = dice.below(3)
    if how == 0:
        head = struct.pack(">II", dice.one(sizes), dice.one(sizes)) + head[8:]
    elif how == 1:
        head = struct.pack(">I", dice.one(sizes)) + head[4:]
    else:
        head = head[:8] + bytes([dice.one([1, 2, 8, 16, 200]), dice.one([0, 2, 3, 4, 6, 9]), 0, 0, dice.below(3)])
    return content[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + content[33:]


def _spoil_onnx(content: bytes, dice: Dice) -> bytes:
    """Change one field somewhere in a graph."""
    model = onnx.load_from_string(content)
    owner, field = dice.one(list(_fields(model)))
    value = getattr(owner, field.name)
    if field.type == field.TYPE_MESSAGE:
        if field.is_repeated:
            how = dice.below(3)
            if how == 0:
                del value[dice.below(len(value))]
            elif how == 1:
                value.add().CopyFrom(value[dice.below(len(value))])
            else:
                owner.ClearField(field.name)
        else:
            owner.ClearField(field.name)
        return model.SerializeToString()
    new = dice.part() if field.type == field.TYPE_BYTES else dice.one(TEXTS[:5]) if field.type == field.TYPE_STRING else dice.one([0, -1, 1, 3, 2**31 - 1, 10**12])  # fmt: skip
    new = float(new) if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE) else new
    if field.is_repeated:
        value[dice.below(len(value))] = new
    else:
        setattr(owner, field.name, new)
    return model.SerializeToString()


def _fields(message: Any) -> Any:
    for field, value in message.ListFields():
        yield message, field
        if field.type == field.TYPE_MESSAGE:
            for part in list(value)[:40] if field.is_repeated else [value]:
                yield from _fields(part)


_KINDS: dict[str, Callable[[bytes, Dice], bytes]] = {
    "json": _spoil_json,
    "yaml": _spoil_words,
    "toml": _spoil_words,
    "safetensors": _spoil_safetensors,
    "backup": _spoil_safetensors,
    "npy": _spoil_npy,
    "zip": _spoil_zip,
    "pt2": _spoil_zip,
    "ts": _spoil_zip,
    "pt": _spoil_torch,
    "pkl": _spoil_pickle,
    "png": _spoil_png,
    "onnx": _spoil_onnx,
}
