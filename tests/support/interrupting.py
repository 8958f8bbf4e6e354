"""Ctrl-C at a chosen place: a progress callback that interrupts.

Example:

    with pytest.raises(StopHere):
        rank(generator, layers, range(60), progress=interrupting(24))
"""

from collections.abc import Callable


class StopHere(KeyboardInterrupt):
    """What a test stops work with."""


def interrupting(after: int) -> Callable[[int, int], None]:
    """Return a progress callback that raises StopHere once `after` images are done."""

    def progress(done: int, total: int) -> None:
        if done >= after:
            raise StopHere

    return progress
