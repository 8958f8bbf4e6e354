"""The studio's engine and jobs: what runs, in which order, what is replaced, refused or cancelled."""

import multiprocessing
import threading
import time
from typing import Any

import pytest

from ganpatch import GanpatchError
from ganpatch.studio.child_process import in_child
from ganpatch.studio.engine import LONGEST, Busy, Engine
from ganpatch.studio.jobs import Jobs


def test_the_newest_of_a_stream_replaces_what_waits() -> None:
    engine, gate, done = Engine(), threading.Event(), []
    engine.submit(gate.wait)
    stale = [engine.submit(lambda number=number: done.append(number), stream="paint") for number in range(5)]
    other = engine.submit(lambda: done.append("other"), stream="look")
    gate.set()
    other.result(5)
    assert [future.cancelled() for future in stale] == [True] * 4 + [False]
    assert done == [4, "other"]
    engine.close()


def test_calm_work_lets_others_go_first_and_faults_reach_whoever_waits() -> None:
    engine, order = Engine(), []

    def steps() -> Any:
        for number in range(50):
            order.append(number)
            time.sleep(0.002)
            yield
        return "end"

    calm = engine.submit_calm(steps())
    time.sleep(0.02)
    engine.submit(lambda: order.append("urgent")).result(5)
    assert calm.result(5) == "end"
    assert 0 < order.index("urgent") < 40
    with pytest.raises(ZeroDivisionError):
        engine.submit(lambda: 1 / 0).result(5)
    engine.close()


def test_more_than_anybody_waits_for_is_refused() -> None:
    engine, gate = Engine(), threading.Event()
    engine.submit(gate.wait)
    time.sleep(0.05)
    for _ in range(LONGEST):
        engine.submit(int)
    with pytest.raises(Busy):
        engine.submit(int)
    engine._waiting[3].future.cancel()
    engine.submit(int)  # whoever has left makes room
    gate.set()
    engine.close()


def test_jobs_run_fail_and_are_cancelled() -> None:
    jobs, gate = Jobs(), threading.Event()

    def slow(report: Any) -> dict[str, Any]:
        gate.wait(5)
        report(1, 2)
        return {"never": 1}

    def fails(report: Any) -> dict[str, Any]:
        raise GanpatchError("no such thing")

    first, second, third = (
        jobs.start("a", "slow", slow),
        jobs.start("b", "fails", fails),
        jobs.start("c", "waits", slow),
    )
    assert jobs.start("a", "slow", slow).id == first.id
    jobs.cancel(jobs.start("a", "slow", slow, of="another patch").id)
    jobs.cancel(first.id)
    jobs.cancel(third.id)
    gate.set()
    deadline = time.monotonic() + 90
    while {job.state for job in jobs.all()} & {"running", "waiting"} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [(job.state, job.error) for job in jobs.all()] == [
        ("cancelled", ""),
        ("failed", "no such thing"),
        ("cancelled", ""),
        ("cancelled", ""),
    ]
    assert second.kind == "b"
    assert jobs.cancel(99) is None


def _counts(report: Any, upto: int) -> dict[str, Any]:
    for number in range(upto):
        report(number, upto)
    if upto > 50:
        raise GanpatchError("too far")
    return {"upto": upto}


def test_work_in_a_process_of_its_own_reports_answers_and_refuses() -> None:
    seen: list[tuple[int, int]] = []
    found = in_child(_counts, lambda *progress: seen.append(progress), upto=5)  # type: ignore[arg-type]
    assert (found, (4, 5) in seen) == ({"upto": 5}, True)

    def unwanted(done: int, total: int) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        in_child(_counts, unwanted, upto=5)
    assert multiprocessing.active_children() == []
