"""The one error a user is meant to read: a sentence that says what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import TracebackType

MOST = 20  # problems that are named at once


class RequestError(ValueError):
    """The request cannot be met. Its message is one sentence for a person; the command line exits with status 2."""


def unknown(kind: str, name: object, known: Iterable[str], where: str = "") -> RequestError:
    """The error for a name that nothing answers to: names it, suggests the closest, lists the known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    place = f" in {where}" if where else ""
    return RequestError(f"unknown {kind} {str(name)!r}{place}{hint}; known: {', '.join(names)}")


class Problems:
    """All that is wrong, so that it can be said at once: `with problems: …` keeps a RequestError and goes on."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}  # each once, in order

    def __bool__(self) -> bool:
        return bool(self.found)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Several):
            self.found |= dict.fromkeys(error.sentences)
        elif isinstance(error, RequestError):
            self.found[str(error)] = None
        return isinstance(error, RequestError)

    def check(self) -> None:
        """Raises RequestError if there are some."""
        if self.found:
            raise Several(list(self.found)) if len(self.found) > 1 else RequestError(next(iter(self.found)))


class Several(RequestError):
    """More than one thing is wrong: a sentence each, in a line of its own."""

    def __init__(self, sentences: list[str]) -> None:
        self.sentences = sentences
        shown = [f"- {sentence}" for sentence in sentences[:MOST]]
        more = [f"- and {len(sentences) - MOST} more"] if len(sentences) > MOST else []
        super().__init__("\n".join([f"{len(sentences)} problems", *shown, *more]))
