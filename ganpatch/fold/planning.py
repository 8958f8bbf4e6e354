"""Deciding, edit by edit, whether parameters can hold it: folded into which, or inserted and why.

    planner = Planner(graph, patch.edits)
    planner.plan()
    planner.decisions["smears"]             # Decision(outcome="folded", where=("layer4.conv.weight",), …)
    planner.changed                         # the parameters that were folded into, by name

The same for a torch module and for an ONNX graph: both are described by `ganpatch.graph.operations`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.fold.affine import Affine, Unfoldable, known_shape
from ganpatch.fold.downstream import push_down
from ganpatch.fold.upstream import Changes, joined, push_up
from ganpatch.graph.operations import Graph, Site, Value
from ganpatch.patch.applying import fitting_terms
from ganpatch.patch.edit import Edit


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of one edit: folded into the tensors `where`, or not, and why not."""

    edit: str
    layer: str
    outcome: Literal["folded", "inserted"]
    where: tuple[str, ...] = ()
    reason: str = ""


class Planner:
    """Decides edit by edit, upstream first; each decision changes the graph's weights, which the next one sees.

    Edits in `forced` are inserted, for the reason given.
    """

    def __init__(self, graph: Graph, edits: Sequence[Edit], forced: Mapping[str, str] | None = None) -> None:
        self.graph, self.edits, self.forced = graph, edits, forced or {}
        self.decisions: dict[str, Decision] = {}
        self.changed: dict[str, Tensor] = {}
        self.sites = {edit.id: [site for site in graph.sites if _meets(edit, site)] for edit in edits}
        self._edited = {site.output for sites in self.sites.values() for site in sites}
        self._inserted: set[Value] = set()

    @property
    def order(self) -> list[Edit]:
        """The edits in the order of the graph, and of the list within a layer."""
        place = {site.output: place for place, site in enumerate(self.graph.sites)}
        return sorted(self.edits, key=lambda edit: place[self.sites[edit.id][0].output])

    def plan(self) -> None:
        """Decide every edit; raise GanpatchError when one is for a run of a layer that does not happen."""
        for edit in self.edits:
            if not self.sites[edit.id]:
                runs = sum(site.layer == edit.layer for site in self.graph.sites)
                what = f"run {edit.call} of layer '{edit.layer}' does not happen: it runs {runs} times"
                raise GanpatchError(f"edit '{edit.id}': {what} per forward pass")
        for edit in self.order:
            self._decide(edit)

    def _decide(self, edit: Edit) -> None:
        try:
            if edit.id in self.forced:
                raise Unfoldable(self.forced[edit.id])
            new = self._folded(self._changes(edit))
        except Unfoldable as fault:
            self.decisions[edit.id] = Decision(edit=edit.id, layer=edit.layer, outcome="inserted", reason=str(fault))
            self._inserted |= {site.output for site in self.sites[edit.id]}
            return
        for name, tensor in new.items():
            self.graph.set_weight(name, tensor)
        self.changed |= new
        self.decisions[edit.id] = Decision(edit=edit.id, layer=edit.layer, outcome="folded", where=tuple(sorted(new)))

    def _folded(self, changes: Changes) -> dict[str, Tensor]:
        new = {name: self.graph.weight(name) * change.scale + change.shift for name, change in changes.items()}
        for name, tensor in new.items():
            if not self.graph.fits(name, tensor):
                raise Unfoldable(f"'{name}' would not be finite")
        return new

    def _changes(self, edit: Edit) -> Changes:
        sites = self.sites[edit.id]
        if len(sites) > 1:
            raise Unfoldable(f"layer '{edit.layer}' runs {len(sites)} times per forward pass, with the same weights")
        if edit.above is not None:
            raise Unfoldable("'above' depends on the activation, and weights do not")
        before, after = self._neighbours(edit)
        if any(self.decisions[other.id].outcome == "inserted" for other in before):
            raise Unfoldable("an earlier edit of the same units is inserted")
        site, change = sites[0], required_change(edit, sites[0])
        attempts = [self._push_up] if before or after else [self._push_up, self._push_down, self._push_both]
        reasons = []
        for attempt in attempts:
            try:
                return attempt(site, change)
            except Unfoldable as fault:
                reasons.append(str(fault))
        ways = zip(("upstream", "downstream"), reasons, strict=False)
        raise Unfoldable("; ".join(f"{way}, {reason}" for way, reason in ways))

    def _push_up(self, site: Site, change: Affine) -> Changes:
        return push_up(self.graph, site.value, change, self._inserted - {site.output})

    def _push_down(self, site: Site, change: Affine) -> Changes:
        return push_down(self.graph, site.output, change, self._edited - {site.output})

    def _push_both(self, site: Site, change: Affine) -> Changes:
        """Scale upstream and shift downstream: a convolution without bias, a bias added later."""
        return joined(self._push_up(site, change.scaled_only()), self._push_down(site, Affine.shifting(change.shift)))

    def _neighbours(self, edit: Edit) -> tuple[list[Edit], list[Edit]]:
        """Return the edits before and behind `edit` that touch the same units of the same layer."""
        place = self.edits.index(edit)
        same = [
            (index, other)
            for index, other in enumerate(self.edits)
            if other.layer == edit.layer and set(other.units) & set(edit.units)
        ]
        return [other for index, other in same if index < place], [other for index, other in same if index > place]


def required_change(edit: Edit, site: Site) -> Affine:
    """Return what an edit asks of the value at `site`; raise GanpatchError when it does not fit the layer."""
    found = fitting_terms(edit, known_shape(site.value))
    return Affine.of(found.scale.unsqueeze(0), found.shift.unsqueeze(0))


def _meets(edit: Edit, site: Site) -> bool:
    return site.layer == edit.layer and edit.call in (None, site.call)
