"""Pushing an edit upstream: which parameters make a value come out as the edit asks.

    changes = push_up(graph, value, change, blocked)    # {"layer4.conv.weight": Affine, ...}, or raises Unfoldable

One rule per kind of operation says how its inputs must change for its output to become scale * y + shift, exactly.
"""

from collections.abc import Callable, Container

from ganpatch.fold.affine import Affine, Unfoldable, known_shape
from ganpatch.graph.operations import Graph, Operation, Value

Changes = dict[str, Affine]  # of parameters, by name
Rule = Callable[["Upstream", Operation, Affine], Changes]

_RULES: dict[str, Rule] = {}
_DEEPEST = 60  # operations between a layer and its parameters; more than models have, fewer than Python's stack holds
_MOST_STEPS = 20_000  # sums of sums are tried in every order; a graph made to take for ever is given up


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Register the rule of some kinds of operations."""

    def register(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def push_up(graph: Graph, value: Value, change: Affine, blocked: Container[Value]) -> Changes:
    """Find the changes of parameters that turn `value` into scale * value + shift."""
    return Upstream(graph, blocked).push(value, change)


class Upstream:
    """A push through one graph; it cannot pass the marks whose outputs are `blocked` by another edit."""

    def __init__(self, graph: Graph, blocked: Container[Value]) -> None:
        self.graph, self.blocked = graph, blocked
        self._depth = self._steps = 0

    def push(self, value: Value, change: Affine) -> Changes:
        """Make `value`, which has one use, come out changed; raise Unfoldable when no parameters do that."""
        if change.is_nothing:
            return {}
        if value.uses != 1:
            others = {reader.place or reader.name for reader in value.readers} | (
                {"output"} if value.outputs else set()
            )
            raise Unfoldable(f"the value is used {value.uses} times ({', '.join(sorted(others)[:3])})")
        return self.through(value, change)

    def through(self, value: Value, change: Affine) -> Changes:
        """Push through the operation that makes `value`, however often the value is used."""
        if change.is_nothing:
            return {}
        if value.made_by is None or value.parameter:
            return self._required(value, change)
        if value in self.blocked:
            raise Unfoldable(f"an inserted edit at '{self.graph.layer_at(value)}' is before it")
        operation = value.made_by
        found = _RULES.get(operation.kind)
        if found is None:
            raise Unfoldable(f"{operation} does not pass it on")
        self._steps += 1
        if self._depth >= _DEEPEST or self._steps > _MOST_STEPS:
            raise Unfoldable("no parameters are near enough")
        self._depth += 1
        try:
            return found(self, operation, change)
        finally:
            self._depth -= 1

    def operand(self, value: Value, change: Affine) -> Changes:
        """Push the change of a result into an operand that is broadcast to it."""
        return self.push(value, change.on_operand(known_shape(value)))

    def _required(self, value: Value, change: Affine) -> Changes:
        if not value.parameter:
            kind = "a constant or a tied parameter" if value.is_fixed else "the model's input"
            raise Unfoldable(f"it would change {kind} ({value.name})")
        return {value.parameter: change.on_operand(known_shape(value))}


def first_of(*attempts: Callable[[], Changes]) -> Changes:
    """Return the result of the first attempt that succeeds; raise the last one's reason."""
    reason: Unfoldable | None = None
    for attempt in attempts:
        try:
            return attempt()
        except Unfoldable as fault:
            reason = fault
    assert reason is not None
    raise reason


def otherwise(attempt: Callable[[], Changes], instead: Callable[[], Changes]) -> Changes:
    """Return the result of `attempt`, else that of `instead`; raise the first one's reason."""
    try:
        return attempt()
    except Unfoldable as fault:
        try:
            return instead()
        except Unfoldable:
            raise fault from None


def joined(*parts: Changes) -> Changes:
    """Put together changes of different parameters."""
    together: Changes = {}
    for part in parts:
        if together.keys() & part.keys():
            raise Unfoldable(f"two of its parts would change {min(together.keys() & part.keys())}")
        together |= part
    return together
