"""Faults at a few steps of a few commands, by the tool that tries all of them; and that the tool notices a loss."""

from pathlib import Path

import pytest

from tools.robustness import fault_commands, faults


def test_nothing_is_lost_or_left_over(tmp_path: Path) -> None:
    """A patch and its masks; the tool does the same to every command that writes."""
    (tmp_path / "model").mkdir()
    name = "patch with masks"
    fault_commands.prepare(tmp_path / "model", [name])
    row = faults.tried(name, tmp_path / "model", tmp_path / "room", 1)
    assert row[2:] == [1] * len(faults.KINDS) + [0]


def write_in_two_halves() -> None:
    for part in ("first ", "second"):
        with Path("out.txt").open("a") as file:
            file.write(part)


def read_whole() -> str:
    text = Path("out.txt").read_text() if Path("out.txt").exists() else ""
    assert text in ("", "first second"), f"half of it: {text}"
    return text


def test_a_loss_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is killed between two halves leaves one of them, and the tool says where."""
    (tmp_path / "model").mkdir()
    (tmp_path / "room").mkdir()
    careless = fault_commands.Command(work=write_in_two_halves, outputs=("out.txt",), read=read_whole)
    monkeypatch.setitem(faults.COMMANDS, "careless", careless)
    trials = faults.Trials("careless", tmp_path / "model", tmp_path / "room")
    assert trials.steps == 2
    with pytest.raises(AssertionError, match="careless, kill at 2 of 2: .*cannot be read: half of it: first "):
        trials.try_fault(faults.Fault("kill", 2))
