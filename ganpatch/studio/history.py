"""A session on disk: nothing is lost when the studio is killed at any moment.

    folder = Folder.open(Path("churches-studio"), model, channels)
    folder.change(Flag(id="a1", layer="layer4", unit=12))       # on disk when it returns

Its files:

studio.json             the state; a change has happened once this file is replaced
history/000012.json     every version of the content, never changed; undo and redo move between them
masks/SHA256.safetensors
patch.yaml, strokes.json    the content for the rest of ganpatch, written from it
"""

import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import save_file

from ganpatch.disk.atomic_files import (
    read_bytes,
    refuse_other_names,
    remove,
    remove_abandoned,
    replacing,
    write_bytes,
    write_text,
)
from ganpatch.disk.json_files import read_section
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.errors import GanpatchError
from ganpatch.generator.fingerprints import array_digest
from ganpatch.patch.edit import Edit, Mask
from ganpatch.patch.evidence import Evidence
from ganpatch.patch.patch_file import Model, Patch
from ganpatch.studio.changes import (
    AddConcept,
    AnyChange,
    Overtaken,
    Pin,
    Redo,
    Restore,
    Undo,
    changed,
    changed_aside,
    placed,
)
from ganpatch.studio.state import Content, Entry, State
from ganpatch.studio.strokes import by_image
from ganpatch.studio.trust import refuse_strange_entries

STATE, PATCH, STROKES = "studio.json", "patch.yaml", "strokes.json"
_HISTORY, _MASKS = "history", "masks"
_LARGEST = 200_000_000
_LARGEST_BROKEN = 10_000_000
_SEEN, _UNDO = 1000, 1000


class Folder:
    """The one who writes a session's folder; changes come one after the other."""

    def __init__(self, path: Path, state: State, channels: Mapping[str, int]) -> None:
        self.path, self.state, self.channels = path, state, channels
        self.evidence = Evidence()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, model: Model, channels: Mapping[str, int], start: Patch | None = None) -> "Folder":
        """Open a session, or begin one with the edits of `start`; raise GanpatchError when it is of another model."""
        refuse_other_names(path)
        if path.is_dir():
            refuse_strange_entries(path)
        if not (path / STATE).exists():
            chosen = start.evidence.choices() if start else Evidence()
            folder = cls(path, State(studio=secrets.token_hex(8), model=model, evidence=chosen), channels)
            name = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in model.name).strip("._-")
            content = Content(name=start.name if start else f"{name or 'model'}-studio")
            folder._commit(folder.state, content if start is None else _of_patch(content, start, 0))
            return folder
        for room in (path, path / _HISTORY, path / _MASKS):
            if room.is_dir():
                remove_abandoned(room)
        state = read_section(path / STATE, State, limit=_LARGEST)
        if state.model.fingerprint != model.fingerprint:
            raise GanpatchError(f"'{path}' is a studio session of {state.model.name} with other weights")
        if start is not None:
            raise GanpatchError(f"'{path}' holds a session already; --patch begins a new one: choose another -o")
        folder = cls(path, state.model_copy(update={"content": _with_masks(state.content, path)}), channels)
        folder._meet_patch()
        return folder

    def change(self, change: AnyChange) -> State:
        """Make a change and return the new state; a change whose id was seen before is not made again."""
        with self._lock:
            state = self.state
            if change.id in state.seen:
                return state
            state = state.model_copy(update={"seen": (*state.seen, change.id)[-_SEEN:]})
            if isinstance(change, Pin | AddConcept):
                self._write(changed_aside(state, change).model_copy(update={"revision": state.revision + 1}))
            elif isinstance(change, Undo | Redo):
                self._write(self._travelled(state, change))
            elif isinstance(change, Restore):
                self._commit(state, self._restored(change))
            else:
                self._commit(state, changed(state.content, change, state.revision + 1, self.channels))
            return self.state

    def put(self, change_id: str, make: Callable[[int], Entry]) -> State:
        """Append the entry that `make(revision)` returns, or replace the one of the same name."""
        with self._lock:
            state = self.state
            if change_id not in state.seen:
                state = state.model_copy(update={"seen": (*state.seen, change_id)[-_SEEN:]})
                self._commit(state, placed(state.content, make(state.revision + 1)))
            return self.state

    def patch(self, version: int | None = None) -> Patch | None:
        """Return the current patch, or that of an earlier version; None while no edit is on."""
        if version is None:
            return self.state.patch(self.evidence)
        return self.state.model_copy(update={"content": self.content(version)}).patch(self.evidence)

    def content(self, version: int) -> Content:
        """Read an earlier version; raise GanpatchError when there is none."""
        return _with_masks(read_section(self._version(version), Content, limit=_LARGEST), self.path)

    def versions(self) -> list[int]:
        """Return the numbers of the versions that are kept, the newest first."""
        names = [path.stem for path in (self.path / _HISTORY).glob("[0-9]*.json")]
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def kept_at(self, version: int) -> float:
        """Return the time, in seconds since 1970, at which a version was kept."""
        return self._version(version).stat().st_mtime

    def _commit(self, state: State, content: Content) -> None:
        """Keep new content as a version and make it the present one."""
        revision = state.revision + 1
        content = self._with_kept_masks(content)
        write_text(self._version(revision), content.model_dump_json() + "\n")
        undo = (*state.undo, state.version)[-_UNDO:] if state.revision else ()
        self._write(
            state.model_copy(
                update={"revision": revision, "version": revision, "content": content, "undo": undo, "redo": ()}
            )
        )

    def _write(self, state: State) -> None:
        write_text(self.path / STATE, state.model_dump_json() + "\n")
        former, self.state = self.state, state
        if state.content is not former.content or state.concepts != former.concepts:
            self._write_meaning()

    def _write_meaning(self) -> None:
        """Write the patch and the strokes."""
        patch, state = self.patch(), self.state
        if patch is None:
            remove(self.path / PATCH)
        else:
            write_text(self.path / PATCH, patch.to_yaml())  # its masks are in masks/ already: one file, whole or not
        if state.content.labels or (self.path / STROKES).exists():
            by_image(state.model, state.concepts, state.content.labels).save(self.path / STROKES)

    def _travelled(self, state: State, change: Undo | Redo) -> State:
        """Go to the version before, or to the one that was undone."""
        back = isinstance(change, Undo)
        chain, other = (state.undo, state.redo) if back else (state.redo, state.undo)
        if change.revision != self.state.revision:
            raise Overtaken("something was changed in another tab; look before you undo")
        if not chain:
            raise Overtaken(f"there is nothing to {change.kind}")
        content = self.content(chain[-1])
        left, grown = chain[:-1], (*other, state.version)
        undo, redo = (left, grown) if back else (grown, left)
        fields = {"content": content, "version": chain[-1], "undo": undo, "redo": redo}
        return state.model_copy(update={"revision": state.revision + 1, **fields})

    def _restored(self, change: Restore) -> Content:
        if change.revision != self.state.revision:
            raise Overtaken("something was changed in another tab; look before you go back")
        return self.content(change.version)

    def _version(self, revision: int) -> Path:
        return self.path / _HISTORY / f"{revision:06d}.json"

    def _with_kept_masks(self, content: Content) -> Content:
        """Write the masks that are not on disk yet, each under its digest."""
        entries = []
        for entry in content.edits:
            mask = entry.edit.mask
            name = f"{_MASKS}/{mask.sha256}.safetensors" if mask else ""
            if mask is not None and mask.tensor != f"{name}#mask":
                with replacing(self.path / name) as temporary:
                    save_file({"mask": mask.values.contiguous()}, temporary)
                entry = entry.at(entry.rev, edit=entry.edit.model_copy(update={"mask": mask.placed(f"{name}#mask")}))
            entries.append(entry)
        return content.model_copy(update={"edits": tuple(entries)})

    def _meet_patch(self) -> None:
        """Write the patch again where a kill left an old one; take in one that was changed by hand."""
        path, own = self.path / PATCH, self.state.patch()
        found: Patch | None = None
        if path.exists():
            try:
                found = Patch.load(path)
            except GanpatchError:
                broken = read_bytes(path, limit=_LARGEST_BROKEN)
                write_bytes(self.path / _HISTORY / f"broken-{self.state.revision:06d}.yaml", broken)
        digests = {patch.digest for patch in (own, self._former_patch()) if patch is not None}
        if (
            found is not None
            and found.digest not in digests
            and found.model.fingerprint == self.state.model.fingerprint
        ):
            known = self.state.evidence.with_records(found.evidence.choices().records)
            state = self.state.model_copy(update={"evidence": known})
            self._commit(state, _of_patch(self.state.content, found, self.state.revision + 1))
        elif own is None or found is None or found.digest != own.digest:
            self._write_meaning()

    def _former_patch(self) -> Patch | None:
        state = self.state
        if not state.undo:
            return None
        return state.model_copy(update={"content": self.content(state.undo[-1])}).patch()


def _of_patch(content: Content, patch: Patch, revision: int) -> Content:
    """Return content with the edits of a patch; edits that are off stay at the end."""
    known = {entry.id: entry for entry in content.edits}
    entries = [
        known[edit.id].at(revision, edit=edit, on=True) if edit.id in known else Entry(edit=edit, rev=revision)
        for edit in patch.edits
    ]
    names = {edit.id for edit in patch.edits}
    off = [entry for entry in content.edits if not entry.on and entry.id not in names]
    fields = {"name": patch.name, "description": patch.description, "edits": (*entries, *off)}
    return content.model_copy(update=fields)


def _with_masks(content: Content, folder: Path) -> Content:
    edits = tuple(
        entry.at(entry.rev, edit=_with_mask(entry.edit, entry.edit.mask, folder)) if entry.edit.mask else entry
        for entry in content.edits
    )
    return content.model_copy(update={"edits": edits})


def _with_mask(edit: Edit, mask: Mask, folder: Path) -> Edit:
    path = folder / _MASKS / f"{mask.sha256}.safetensors"
    with opened_tensors(path, f"the mask of edit '{edit.id}' is broken: '{path}'", framework="np") as file:
        values = file.array("mask")
    if array_digest(values) != mask.sha256:
        raise GanpatchError(f"the mask of edit '{edit.id}' has changed: '{path}'")
    return edit.model_copy(update={"mask": mask.filled(values)})
