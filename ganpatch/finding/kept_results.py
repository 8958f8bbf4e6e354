"""What a long search has computed so far, kept in a file: the same search, begun again after a failure, continues.

    kept = KeptResults(folder / KEPT, plan, group)
    maps = kept.of("layer4/references/0", lambda: maps_of(seeds))   # computed now, or by the search that failed
    kept.save()

Results are kept by name. They are those of one plan; a file of another plan, or a broken one, is replaced.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ganpatch.disk.atomic_files import remove
from ganpatch.errors import GanpatchError
from ganpatch.forward.processes import ALONE, Group
from ganpatch.forward.saved_state import SavedState, load_partial, partial_of, partials

KEPT = "suggest-partial.safetensors"
_MOST_BYTES = 256_000_000  # what is more than this is computed again


class KeptResults:
    """Results by name; without a path, nothing is kept."""

    def __init__(
        self, path: Path | None = None, plan: Mapping[str, object] | None = None, group: Group = ALONE
    ) -> None:
        self._path, self._plan = path, plan or {}
        self._known: dict[str, Tensor] = {}
        for file in partials(path) if path is not None else []:
            try:
                self._known |= load_partial(file, self._plan)[0]
            except GanpatchError:
                continue  # it is no more than what is computed again
        group.gathered({})  # nobody writes before all have read
        self._saved = SavedState(None if path is None else partial_of(path, group.rank), self._plan)
        self._bytes, self._is_new = sum(tensor.nbytes for tensor in self._known.values()), False

    def of(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """Return the result called `name`, and compute it if it is not known."""
        return self.several(name, lambda: {"": compute()})[""]

    def knows(self, name: str) -> bool:
        """Return whether a result called `name` is kept."""
        return any(key.startswith(f"{name}#") for key in self._known)

    def several(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return results that are computed together; those that were kept are on the CPU."""
        begin = f"{name}#"
        found = {key.removeprefix(begin): tensor for key, tensor in self._known.items() if key.startswith(begin)}
        if not found:
            found = compute()
            self._keep({f"{begin}{key}": tensor for key, tensor in found.items()})
        return found

    def save(self) -> bool:
        """Write what is kept; return whether there is anything."""
        if self._path is not None and self._is_new:
            self._saved.write(self._known, {})
            self._is_new = False
        return self._path is not None and bool(self._known)

    def remove(self) -> None:
        """Remove the files: the search has ended."""
        for file in partials(self._path) if self._path is not None else []:
            remove(file)

    def _keep(self, found: Mapping[str, Tensor]) -> None:
        size = sum(tensor.nbytes for tensor in found.values())
        if self._path is None or self._bytes + size > _MOST_BYTES:
            return
        self._known |= {key: tensor.detach().cpu().clone() for key, tensor in found.items()}  # two may be one
        self._bytes, self._is_new = self._bytes + size, True
        if self._saved.is_due:
            self.save()
