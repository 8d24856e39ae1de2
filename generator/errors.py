"""The one error a user is meant to read: a sentence that says what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(ValueError):
    """The request cannot be met. Its message is one sentence for a person; the command line exits with status 2."""


def unknown(kind: str, name: object, known: Iterable[str], where: str = "") -> RequestError:
    """The error for a name that nothing answers to: names it, suggests the closest, lists the known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    place = f" in {where}" if where else ""
    return RequestError(f"unknown {kind} {str(name)!r}{place}{hint}; known: {', '.join(names)}")
