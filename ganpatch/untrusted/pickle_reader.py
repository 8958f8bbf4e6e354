"""Read pickles without running anything that they name.

    reader = Reader(file, known=KNOWN, persistent=storage_of)
    content = reader.load()
    reader.strange                  # {"pathlib.PosixPath"}: names that are not in KNOWN
    reader.unread                   # arrays of objects, which stay empty

A pickle is a program that names functions and calls them with arguments of its choice. Here a name stands for one
of the `known` constructors of plain values, each of which checks its arguments, or else for a `Stub` that only keeps
them. Memory is allocated for what is in the file, never for what a number in it claims.
"""

import argparse
import collections
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, ClassVar

import numpy as np

Known = Mapping[tuple[str, str], Any]

_PLAIN = (str, bytes, int, float, complex, type(None), np.generic)
_KINDS, _TEXT_KINDS = "biufc", "SU"
_LARGEST_ITEM, _LARGEST_TEXT = 16, 1 << 20
_BUILTINS = {"eval", "exec", "compile", "open", "input", "breakpoint", "__import__"}
_RUNNERS = {"os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "runpy", "importlib", "ctypes", "pty", "code"}
_KEEPING_STATE = (argparse.Namespace, collections.OrderedDict, collections.defaultdict)


class Stub:
    """An object of a class that is not loaded; keeps its arguments, its state and its items."""

    kind = ""

    def __init__(self, *args: Any, **_kwargs: Any) -> None:
        self.args, self.items, self.state = args, {}, {}  # type: ignore[var-annotated]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Stub":
        made = super().__new__(cls)
        made.args, made.items, made.state = (), {}, {}
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def __call__(self, *args: Any) -> "Stub":
        """Return another stub: what a bound method or a partial function would have made."""
        return type(self)(*args)

    def __str__(self) -> str:
        plain = ", ".join(str(one) for one in self.args if isinstance(one, _PLAIN))
        return f"{self.kind.rpartition('.')[2]}({plain[:40]})"

    def append(self, value: Any) -> None:
        """Add an item, as the pickle of a list does."""
        self.items[len(self.items)] = value

    def update(self, values: Any) -> None:
        """Add items, as the pickle of a set does."""
        self.extend(values)

    def extend(self, values: Any) -> None:
        """Add items, as the pickle of a list does."""
        for value in values:
            self.append(value)


class Bounded:
    """A file that never reads more than it holds, whatever length a pickle asks for."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size

    def read(self, count: int = -1) -> bytes:
        """Read exactly so many bytes."""
        if not 0 <= count <= self._size - self._file.tell():
            raise EOFError("it is cut short")
        return self._file.read(count)

    def readline(self) -> bytes:
        """Read a line."""
        return self._file.readline()


class Reader(pickle._Unpickler):  # in Python: the one in C takes memory as it is told to, gigabytes for ten bytes
    """Reads plain values, calls `persistent` for references out of the pickle, and makes stubs of everything else."""

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(self, file: Bounded, known: Known, persistent: Callable[[Any], Any]) -> None:
        super().__init__(file, encoding="utf-8")
        self.strange: set[str] = set()
        self.unread: list[Any] = []
        self._known, self._persistent = known, persistent

    def find_class(self, module: str, name: str) -> Any:
        """Return the known constructor of that name, or a class of stubs."""
        found = self._known.get((module.replace("__builtin__", "builtins"), name))
        if found is None:
            self.strange.add(f"{module}.{name}")
            return type("Stub", (Stub,), {"kind": f"{module}.{name}"})
        return found

    def persistent_load(self, pid: Any) -> Any:
        """Return an object that is stored outside the pickle."""
        return self._persistent(pid)

    def load_build(self) -> None:
        """Set the state of an object that is made for it, never of a class or a function."""
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, Stub):
            made.__setstate__(state)
        elif isinstance(made, np.ndarray):
            if not _fill_array(made, state):
                self.unread.append(made)
        elif isinstance(made, _KEEPING_STATE) and isinstance(state, dict):
            made.__dict__.update({str(name): value for name, value in state.items()})
        elif isinstance(made, np.dtype):
            _order_dtype(made, state)
        else:
            raise pickle.UnpicklingError(f"it gives a state to a {type(made).__name__}")

    def load_setitem(self) -> None:
        """Put one item into a mapping."""
        value, key, mapping = self.stack.pop(), self.stack.pop(), self.stack[-1]
        mapping[plain_key(key)] = value

    def load_setitems(self) -> None:
        """Put items into a mapping."""
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][plain_key(key)] = value

    def load_dict(self) -> None:
        """Make a mapping of what is on the stack."""
        items = self.pop_mark()
        self.append({plain_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)})

    def load_additems(self) -> None:
        """Put items into a set."""
        items = self.pop_mark()
        self.stack[-1].update(plain_key(item) for item in items)

    def load_frozenset(self) -> None:
        """Make a frozen set."""
        self.append(frozenset(plain_key(item) for item in self.pop_mark()))

    def load_bytearray8(self) -> None:
        """Read an array of bytes."""
        (count,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(count)))

    dispatch: ClassVar[Any] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
    }


def runs(name: str) -> bool:
    """Return whether a name in a pickle is of something that runs code or touches files: no value of a checkpoint."""
    module, _, member = name.rpartition(".")
    return module.partition(".")[0] in _RUNNERS or (module in ("builtins", "__builtin__") and member in _BUILTINS)


def plain_key(key: Any) -> Any:
    """Return a key that is quickly hashed, an object as text; nested tuples can take very long, and are refused."""
    if isinstance(key, Stub):
        return str(key)
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, _PLAIN) for part in parts):
        raise pickle.UnpicklingError(f"a key is a {type(key).__name__}")
    return key


class Named:
    """A type that may be named, and is never called: what a defaultdict makes."""

    def __init__(self, kind: type) -> None:
        self.kind = kind


def _dtype(name: Any, *_flags: Any) -> Any:
    """Return a dtype of numbers or text; a stub for any other."""
    made: Any = np.dtype(_text(name), copy=True)
    largest = _LARGEST_ITEM if made.kind in _KINDS else _LARGEST_TEXT if made.kind in _TEXT_KINDS else -1
    return made if made.itemsize <= largest else Stub(name)


def _order_dtype(dtype: Any, state: Any) -> None:
    """Read the byte order, and nothing else, from the state of a NumPy dtype."""
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
    sizes = (dtype.itemsize, dtype.alignment) if dtype.kind in _TEXT_KINDS else (-1, -1)
    if order in ("<", ">"):
        dtype.__setstate__((3, order, None, None, None, *sizes, 0))


def _fill_array(array: Any, state: Any) -> bool:
    """Fill an empty array with its content, which must have the length that its shape requires.

    Returns False, and leaves it empty, where it is one of objects.
    """
    _version, shape, dtype, fortran, content = state
    if not isinstance(dtype, np.dtype):
        return False
    if not isinstance(shape, tuple):
        raise pickle.UnpicklingError("an array without a shape is not read")
    array.__setstate__((1, shape, dtype, bool(fortran), _octets(content)))
    return True


def _octets(content: Any) -> bytes:
    return content if isinstance(content, bytes) else _text(content).encode("latin1")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise pickle.UnpicklingError(f"a {type(value).__name__} where text should be")
    return value


def _empty_array(*_args: Any) -> Any:
    return np.empty(0, np.uint8)


def _number(dtype: Any, content: Any) -> Any:
    if not isinstance(dtype, np.dtype):
        return Stub("numpy.generic")
    return np.frombuffer(_octets(content), dtype, count=1)[0]


def _pairs(items: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in items.items() if isinstance(items, dict) else items:
        yield plain_key(key), value


def _ordered(items: Any = ()) -> Any:
    return collections.OrderedDict(_pairs(items))


def _counter(items: Any = ()) -> Any:
    return collections.Counter(dict(_pairs(items)))


def _set(items: Any = ()) -> Any:
    return {plain_key(item) for item in items}


def _defaulting(factory: Any = None, items: Any = ()) -> Any:
    if factory is not None and not isinstance(factory, Named):
        raise pickle.UnpicklingError("a defaultdict makes objects that are not known")
    return collections.defaultdict(factory.kind if factory else None, _pairs(items))


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if encoding not in ("latin1", "utf-8", "ascii"):
        raise pickle.UnpicklingError("text in an odd encoding is not read")
    return _text(text).encode(encoding)


def _byte_array(content: Any = b"", encoding: Any = "latin1") -> bytearray:
    return bytearray(content) if isinstance(content, bytes) else bytearray(_encoded(content, encoding))


def _reconstructed(kind: Any, *_base_and_state: Any) -> Any:
    """Make an empty object, as pickles of protocol 0 and 1 do."""
    if kind is argparse.Namespace or (isinstance(kind, type) and issubclass(kind, Stub)):
        return kind()
    raise pickle.UnpicklingError("it makes an object of a class that is not known")


# Plain values that training scripts like to save beside the weights.
PLAIN: dict[tuple[str, str], Any] = {
    ("argparse", "Namespace"): argparse.Namespace,
    ("collections", "OrderedDict"): _ordered,
    ("collections", "Counter"): _counter,
    ("collections", "defaultdict"): _defaulting,
    ("builtins", "set"): _set,
    ("builtins", "complex"): complex,
    ("builtins", "bytearray"): _byte_array,
    **{("builtins", kind.__name__): Named(kind) for kind in (list, dict, int, float, str, object)},
    ("copy_reg", "_reconstructor"): _reconstructed,
    ("copyreg", "_reconstructor"): _reconstructed,
    ("_codecs", "encode"): _encoded,
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _empty_array,
    **{
        (f"numpy.{core}.multiarray", name): found
        for core in ("core", "_core")
        for name, found in (("scalar", _number), ("_reconstruct", _empty_array))
    },
}
