"""An answer from elsewhere, or the end of patience."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
NAME = "asks elsewhere"


def within(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` returns, or raises. Raises TimeoutError if it takes longer: it is left alone, and Ctrl-C is heard meanwhile."""
    answers: list[T] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:
            failures.append(error)

    asking = threading.Thread(target=run, daemon=True, name=NAME)
    asking.start()
    asking.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return answers[0]


def asking() -> bool:
    """Whether what was given up is still being asked. Libraries in C++ would let the process wait for that as it ends."""
    return any(thread.name == NAME for thread in threading.enumerate())
