"""Pushing an edit upstream: which parameters make a value come out as the edit asks.

    changes = push_up(graph, node, wish, user)      # {"layer4.conv.weight": Affine, ...}, or raises Unfoldable

One rule per operation says what its inputs must become for its output to become scale * y + shift, exactly.
"""

import operator
from collections.abc import Callable
from typing import Any

from torch import fx

from ganpatch.fold.affine import Affine, Unfoldable
from ganpatch.graph.traced_graph import MARK, Graph, argument, module_of, operation, shape, uses

Changes = dict[str, Affine]
Rule = Callable[["Upstream", fx.Node, Affine], Changes]

_RULES: dict[str, Rule] = {}
SPLITS = ("split", "split_with_sizes", "chunk")


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Register the rule of some operations."""

    def register(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operations, function))
        return function

    return register


class Upstream:
    """A push through one graph; `blocked` marks cannot be passed, their edit stands in the way."""

    def __init__(self, graph: Graph, blocked: set[fx.Node]) -> None:
        self.graph, self.blocked = graph, blocked

    def push(self, node: Any, wish: Affine) -> Changes:
        """Make `node`, which has one use, come out as `wish` asks; raise Unfoldable when no parameters do that."""
        if wish.is_nothing:
            return {}
        if not isinstance(node, fx.Node):
            raise Unfoldable("it would change a constant of the code")
        if uses(node) != 1:
            others = sorted({module_of(user) or operation(user) for user in node.users})
            raise Unfoldable(f"the value is used {uses(node)} times ({', '.join(others[:3])})")
        return self.through(node, wish)

    def through(self, node: fx.Node, wish: Affine) -> Changes:
        """Push through the operation of `node`, however often it is used."""
        if wish.is_nothing:
            return {}
        if node.op == "placeholder":
            return self._grant(node, wish)
        if node.target == MARK and node in self.blocked:
            raise Unfoldable(f"an inserted edit at '{self.graph.site_of[node].layer}' stands before it")
        found = _RULES.get(operation(node))
        if found is None:
            place = module_of(node)
            raise Unfoldable(f"{operation(node)}{f' in {place}' if place else ''} does not pass it on")
        return found(self, results_of(node), wish)

    def _grant(self, node: fx.Node, wish: Affine) -> Changes:
        name = self.graph.parameter(node)
        if name is None:
            kind = "a tied parameter" if self.graph.is_fixed(node) else "the model's input"
            raise Unfoldable(f"it would change {kind} ({node.name})")
        return {name: wish.on_operand(shape(node))}

    def first_of(self, *attempts: Callable[[], Changes]) -> Changes:
        """Return the result of the first attempt that succeeds; raise the last one's reason."""
        reason: Unfoldable | None = None
        for attempt in attempts:
            try:
                return attempt()
            except Unfoldable as fault:
                reason = fault
        assert reason is not None
        raise reason


def joined(*parts: Changes) -> Changes:
    """Put together changes of different parameters."""
    together: Changes = {}
    for part in parts:
        if together.keys() & part.keys():
            raise Unfoldable(f"two of its parts would change {min(together.keys() & part.keys())}")
        together |= part
    return together


def results_of(node: fx.Node) -> fx.Node:
    """Return the operation whose first result `node` is; parts of a split stay as they are."""
    if node.target is not operator.getitem or operation(node) in SPLITS:
        return node
    if argument(node, 1) != 0:
        raise Unfoldable(f"it is a side result of {operation(node)}")
    source: fx.Node = argument(node, 0)
    return source


def push_up(graph: Graph, node: fx.Node, wish: Affine, blocked: set[fx.Node]) -> Changes:
    """Find the changes of parameters that turn the value of `node` into scale * value + shift."""
    return Upstream(graph, blocked).push(node, wish)
