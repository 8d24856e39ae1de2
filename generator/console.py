"""How answers are shown: as text, never as markup, on any terminal and into any pipe."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from rich.console import Console

PIPE = 1000  # columns of a table in a pipe, where nothing is gained by cutting it
PLAIN = {
    "±": "+-",
    "×": "x",
    "·": "*",
    "→": "->",
    "…": "...",
    "—": "-",
    "–": "-",
    "−": "-",
    "≤": "<=",
    "≥": ">=",
    "²": "^2",
}


class Shown(Console):
    """A console that takes names of files and tasks as they are, and leaves a closed pipe to who prints."""

    def __init__(self, stderr: bool = False, **options: Any) -> None:
        stream = sys.stderr if stderr else sys.stdout
        wide = {} if stream is not None and stream.isatty() else {"width": PIPE}
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, **(wide | options))

    def table(self, title: str, rows: Sequence[Sequence[str]]) -> None:
        """Print a table under its title, if it has one; the first row is its header."""
        from rich.table import Table

        if title:
            self.print(title, style="italic", soft_wrap=True)  # a table's own would be as narrow as the table
        table = Table(*rows[0])
        for row in rows[1:]:
            table.add_row(*row)
        self.print(table)

    def on_broken_pipe(self) -> NoReturn:
        """Called by rich when nobody reads any more."""
        raise BrokenPipeError


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """What a terminal can show of a character that its encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    wanted = error.object[error.start : error.end]
    return "".join(PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in wanted), error.end


def any_encoding() -> None:
    """Let nothing that is printed fail for the encoding of where it goes."""
    codecs.register_error("plainly", _plainly)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # it is something else, or closed
            stream.reconfigure(errors="plainly")  # type: ignore[union-attr]
