"""Find the state dict that is meant in a checkpoint: among several, under a prefix, between other values.

    places = find_places(content)
    found = choose_state("model.ckpt", places, recognised)
    found.key                               # "state_dict.generator"
    found.state                             # {"main.0.weight": tensor, ...}
    found.remarks                           # ("took 'state_dict.generator'; not used: …",)

Trainers put networks beside each other: as mappings, or in one mapping under prefixes ("generator.", "netG."), with
those of wrappers ("module.", "_orig_mod.") before, between or behind. A key names either: "state_dict.generator".
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ganpatch.errors import GanpatchError, listed, near_miss

State = dict[str, Tensor]
Recognised = Callable[[State], bool]

_WRAPPERS = ("module", "_orig_mod")
_DEEPEST, _LONGEST_LIST, _MOST_PARTS = 4, 16, 64
_AVERAGED = re.compile("ema|avg|average|smooth|shadow")  # names of the weights averaged over training
_SIDE = r"(_?(ema|avg|average|averaged|test))?[_\dabxysto]{0,8}(_?(ema|avg))?"  # "_ema", "_A2B", "_1"
_GENERATOR = re.compile(rf"((net_?)?g(en|enerator)?|model){_SIDE}|ema|net|network|student|{'|'.join(_WRAPPERS)}")
_OTHER = re.compile(
    r"(net_?)?[de][_\dabxy]{0,6}|(net_?)?(disc|critic|enc).*|n_averaged|initted|step|"
    r".*(loss|vgg|lpips|percep|metric|inception|clip).*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A mapping with tensors in a checkpoint, and the way to it: keys of mappings and places in lists."""

    path: tuple[Any, ...]
    tensors: Mapping[str, Tensor]

    @property
    def key(self) -> str:
        """The path as --key has it."""
        return ".".join(str(step) for step in self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The tensors of one network in a checkpoint; `stored` are their names there by their own names."""

    place: Place
    prefix: str = ""
    stored: Mapping[str, str]
    remarks: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What --key would be to take it."""
        return ".".join(part for part in (self.place.key, self.prefix) if part)

    @property
    def state(self) -> State:
        """The tensors by their own names."""
        return {name: self.place.tensors[stored] for name, stored in self.stored.items()}


def find_places(content: Any) -> list[Place]:
    """Return every mapping with tensors in a checkpoint, outer ones first.

    A mapping that occurs several times is opened once. The states of optimisers are no networks. A mapping with others
    inside counts only where its own tensors have dotted names; a lone tensor is no network then.
    """
    return list(_places(content, (), {}))


def _places(content: Any, path: tuple[Any, ...], seen: dict[int, Place | None]) -> Iterator[Place]:
    entries = _entries(content)
    if not entries or len(path) > _DEEPEST:
        return
    if id(content) in seen:
        if (known := seen[id(content)]) is not None:
            yield Place(path=path, tensors=known.tensors)
        return
    seen[id(content)] = None
    inner = [
        place
        for key, value in entries
        if not str(key).endswith("_extra_state")
        for place in _places(value, (*path, key), seen)
    ]
    tensors = {key: value for key, value in entries if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors and (not inner or any("." in name for name in tensors)):
        seen[id(content)] = Place(path=path, tensors=tensors)
        yield Place(path=path, tensors=tensors)
    yield from inner


def _entries(content: Any) -> list[tuple[Any, Any]]:
    if isinstance(content, list | tuple):
        return list(enumerate(content)) if len(content) <= _LONGEST_LIST else []
    if not isinstance(content, Mapping) or "param_groups" in content:
        return []
    return list(content.items())


def choose_state(where: str, places: Sequence[Place], recognised: Recognised) -> Found:
    """Return the only network that `recognised` accepts, averaged weights before others; else the only state dict.

    Raises GanpatchError naming the keys when that leaves a choice.
    """
    fitting = [found for place in places for found in _fitting(place, recognised)]
    averaged = [found for found in fitting if _AVERAGED.search(found.key.lower())]
    chosen = averaged if len(fitting) > 1 and averaged else fitting
    if len(chosen) == 1:
        return _remarked(chosen[0], places, fitting)
    if not fitting and len(places) == 1:
        return _whole(places[0])
    if fitting:
        options = [f"'{found.key or '(the whole file)'}' ({len(found.stored)} tensors)" for found in chosen]
        raise GanpatchError(f"{where} holds {len(chosen)} networks that fit; choose one with --key: {listed(options)}")
    options = [f"'{place.key}' ({len(place.tensors)} tensors)" for place in places]
    raise GanpatchError(f"{where} holds {len(places)} state dicts; choose one with --key: {listed(options)}")


def take_state(where: str, places: Sequence[Place], key: str, recognised: Recognised) -> Found:
    """Return the state dict under `key`: its path, with a prefix of its names behind it, or a prefix alone.

    Raises GanpatchError when there is none.
    """
    wanted = key.rstrip(".")
    found = [_under(place, rest) for place in places if (rest := _rest(place, wanted)) is not None]
    if not found:
        found = [_under(place, wanted) for place in places if _has_part(place, wanted)]
    if len(found) == 1 or (found and found[0].prefix == ""):
        return next((one for one in _variants(found[0]) if recognised(one.state)), found[0])
    known = list(dict.fromkeys(one.key for place in places for one in (_whole(place), *_networks(place))))
    options = listed([name or "(the whole file)" for name in known])
    near = near_miss(wanted, [*known, *(name.rpartition(".")[2] for name in known)])
    raise GanpatchError(f"{where} has no state dict under --key '{key}'; it has {options}{near}")


def part_names(place: Place) -> list[str]:
    """Return the keys of the networks that a state dict seems to hold under prefixes: none where it is one network."""
    return [f"{part.key} ({len(part.stored)} tensors)" for part in _networks(place)]


def _networks(place: Place) -> list[Found]:
    """Return the parts of a state dict where the name of one says that they are networks of their own."""
    parts = list(_parts(_whole(place)))
    heads = [part.prefix.rpartition(".")[2].lower() for part in parts]
    several = len(parts) > 1 and any(_GENERATOR.fullmatch(head) or _OTHER.fullmatch(head) for head in heads)
    return parts if several else []


def _rest(place: Place, key: str) -> str | None:
    """Return the prefix that `key` names in a place, "" for the whole of it, or None where it names another place."""
    if key == place.key:
        return ""
    rest = key.removeprefix(f"{place.key}.") if place.key and key.startswith(f"{place.key}.") else key
    return rest if (rest != key or not place.key) and _has_part(place, rest) else None


def _has_part(place: Place, prefix: str) -> bool:
    return any(name.startswith(f"{prefix}.") for name in place.tensors)


def _under(place: Place, prefix: str) -> Found:
    dotted = f"{prefix}." if prefix else ""
    stored = {name[len(dotted) :]: name for name in place.tensors if name.startswith(dotted)}
    return _unwrapped(Found(place=place, prefix=prefix, stored=stored))


def _whole(place: Place) -> Found:
    return _unwrapped(Found(place=place, stored={name: name for name in place.tensors}))


def _fitting(place: Place, recognised: Recognised) -> Iterator[Found]:
    """Yield the whole of a place where it is recognised, else the networks under its prefixes that are."""
    waiting = [Found(place=place, stored={name: name for name in place.tensors})]
    for found in waiting:  # grows on the way
        fits = next((one for one in _variants(found) if recognised(one.state)), None)
        if fits is not None:
            yield fits
        elif found.prefix.count(".") < _DEEPEST and len(waiting) < _MOST_PARTS:
            waiting += [part for part in _parts(found) if _is_network(part, found)]


def _variants(found: Found) -> Iterator[Found]:
    """Yield a network as it is stored, without the wrappers before all names, and without any."""
    yield found
    bare = _unwrapped(found)
    if bare is not found:
        yield bare
    plain = {".".join(p for p in name.split(".") if p not in _WRAPPERS): at for name, at in found.stored.items()}
    if len(plain) == len(found.stored) and plain.keys() != bare.stored.keys():
        yield replace(found, stored=plain)


def _unwrapped(found: Found) -> Found:
    """Remove the prefixes that DataParallel or torch.compile put before every name."""
    stored = found.stored
    while stored and (first := next(iter(stored)).partition(".")[0]) in _WRAPPERS:
        if not all(name.startswith(f"{first}.") for name in stored):
            break
        stored = {name[len(first) + 1 :]: at for name, at in stored.items()}
    return found if stored is found.stored else replace(found, stored=stored)


def _parts(found: Found) -> Iterator[Found]:
    """Yield the tensors under each first component of the names."""
    groups: dict[str, dict[str, str]] = {}
    for name, stored in found.stored.items():
        head, _, rest = name.partition(".")
        prefix = stored[: len(stored) - len(rest) - 1] if rest else stored
        groups.setdefault(prefix, {})[rest or head] = stored
    for prefix, stored_names in groups.items():
        yield Found(place=found.place, prefix=prefix, stored=stored_names)


def _is_network(part: Found, whole: Found) -> bool:
    """Return whether a part is named as a generator is, or all parts beside it are named as other things are."""
    own = part.prefix.rpartition(".")[2]
    beside = {name.partition(".")[0] for name in whole.stored} - {own}
    named = _GENERATOR.fullmatch(own.lower()) is not None
    return named or (not own.isdigit() and all(_OTHER.fullmatch(name.lower()) for name in beside))


def _remarked(chosen: Found, places: Sequence[Place], fitting: Sequence[Found]) -> Found:
    """Add what was taken and what was not, where there was a choice."""
    others = {found.key for found in fitting} - {chosen.key}
    remarks = []
    if others:
        keys = listed([f"--key {key}" for key in sorted(others)])
        remarks.append(f"took the averaged weights '{chosen.key}'; {keys} takes the others")
    left = {place.key: len(place.tensors) for place in places if place.path != chosen.place.path} | _beside(chosen)
    named = [f"{key} ({count} tensors)" for key, count in left.items() if key not in others]
    if named:
        took = "" if others else f"took '{chosen.key or '(the top level)'}'; "
        remarks.append(f"{took}not used: {listed(named, 6)}")
    return replace(chosen, remarks=tuple(remarks))


def _beside(chosen: Found) -> dict[str, int]:
    """Return the number of tensors of each network next to the chosen one in its mapping, by key."""
    taken, way = set(chosen.stored.values()), chosen.prefix.split(".")
    counts: dict[str, int] = {}
    for name in chosen.place.tensors:
        if name not in taken:
            steps = name.split(".")
            same = next((at for at, pair in enumerate(zip(steps, way, strict=False)) if pair[0] != pair[1]), len(way))
            key = ".".join([*(str(step) for step in chosen.place.path), *steps[: same + 1]])
            counts[key] = counts.get(key, 0) + 1
    return counts
