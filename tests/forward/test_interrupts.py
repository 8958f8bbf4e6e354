"""Signals within a batch wait for its end; a second one does not; other threads never see them."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganpatch import Generator
from ganpatch.forward.interrupts import waiting_for_batches
from ganpatch.forward.resumable_pass import run_pass
from ganpatch.ranking.layer_stats import Plan
from ganpatch.ranking.ranker import Ranker


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """A process that was begun in the background ignores Ctrl-C; these tests send it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_waits_until_it_is_asked_for() -> None:
    before = signal.getsignal(signal.SIGINT)
    with waiting_for_batches() as stop:
        stop.if_asked()
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # passed on by torchrun, at once
        with pytest.raises(KeyboardInterrupt):
            stop.if_asked()
        assert not stop.at_once
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_signal_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganpatch.forward.interrupts._IMPATIENT", -1.0)
    with waiting_for_batches() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.at_once


def test_a_handler_that_is_not_pythons_is_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with waiting_for_batches() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            stop.if_asked()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_has_no_signals() -> None:
    found: list[bool] = []

    def work() -> None:
        with waiting_for_batches() as stop:
            stop.if_asked()
            found.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]


def test_a_batch_is_whole_in_what_is_kept(small_dcgan: Generator, tmp_path: Path) -> None:
    """A signal between a batch's two layers: that batch is taken by both, and is kept as done."""

    class Interrupted(Ranker):
        batches = 0

        def finish_batch(self, seeds, images) -> None:  # type: ignore[no-untyped-def]
            super().finish_batch(seeds, images)
            self.batches += 1

        def watch(self):  # type: ignore[no-untyped-def]
            watch = super().watch()
            inner = watch["main.2"]

            def ends(activation, seeds) -> None:  # type: ignore[no-untyped-def]
                inner(activation, seeds)
                if self.batches == 2:
                    os.kill(os.getpid(), signal.SIGINT)

            return {**watch, "main.2": ends}

    plan = Plan.of(small_dcgan, ("main.2", "main.5"), range(60), 4, "max")
    cut = Interrupted(plan)
    partial = tmp_path / "partial.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run_pass(small_dcgan, cut, range(60), batch_size=8, partial=partial)
    whole, resumed, shown = Ranker(plan), Ranker(plan), list[int]()
    run_pass(small_dcgan, whole, range(60), batch_size=8)
    run_pass(
        small_dcgan, resumed, range(60), batch_size=8, partial=partial, progress=lambda done, _: shown.append(done)
    )
    assert shown[0] == 24
    for layer in plan.layers:
        assert resumed.tallies[layer].moments.positive.tolist() == whole.tallies[layer].moments.positive.tolist()
        assert int(resumed.tallies[layer].moments.pixels) == int(whole.tallies[layer].moments.pixels)
