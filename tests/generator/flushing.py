"""The command line, whose workers keep what they have got five times a second, so that faults need not wait for it."""

from __future__ import annotations

from functools import partial

from generator.running import inflight
from generator.running.work import Assignment, Receipt, work


def train(assignment: Assignment) -> Receipt:
    """`work`, flushing often."""
    inflight.SECONDS = 0.2
    return work(assignment)


if __name__ == "__main__":
    import flushing  # by this name workers find it

    import rulescope
    from generator.running import driver

    driver.collect = partial(driver.collect, train=flushing.train)  # type: ignore[assignment]
    rulescope.main()
