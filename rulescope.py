"""Which learning rule produced this neural data? `import rulescope as rs`, or the `rulescope` command.

```python
import rulescope as rs

dataset = rs.generate("datasets/demo.toml")        # a file, a dictionary or an rs.Spec
examples = rs.load(dataset)                        # .to_frame(), .X, .y, .groups, .identity
rs.evaluate(examples, models=["forest"]).table     # or any classifier of scikit-learn's kind
```

Names are imported when they are first used.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

for _package in ("generator", "classifier"):
    _found = importlib.import_module(_package)
    if not hasattr(_found, "__path__"):
        raise ImportError(f"{_found.__file__} stands in the way of Rulescope's package of that name: rename it")

TRACEBACK = "RULESCOPE_TRACEBACK"  # a variable: show what a disk or a network did as Python does, not as a sentence
INTERRUPTED, UNREAD = 130, 141  # as shells have it: 128 + SIGINT, 128 + SIGPIPE

_NAMES = {
    "generator.api": ("plan", "generate", "status", "verify", "rerun", "merge", "compact", "plugin"),
    "generator.spec.spec": ("Spec",),
    "generator.dataset.storage": ("Dataset",),
    "generator.recordings.recording": ("Recording",),
    "generator.errors": ("RequestError",),
    "classifier.api": (
        "load", "curves", "evaluate", "train", "predict", "importance", "controls", "transfer", "distinguish",
        "identify", "trust", "robustness", "power", "report",
    ),
    "classifier.examples.trajectories": ("Examples",),
    "classifier.examples.splits": ("Split",),
    "classifier.power.design": ("noise_of",),
}  # fmt: skip
_HOME = {name: module for module, found in _NAMES.items() for name in found}
__all__ = sorted([*_HOME, "names", "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("rulescope")
    if name not in _HOME:
        raise AttributeError(f"module 'rulescope' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__


def names(kind: str | None = None) -> Any:
    """What can be named, and what it means.

    Args:
        kind: rules, architectures, tasks, objectives, observables, noise, features, relations, samplings, splits, inner (folds),
            models or importances; None for all.

    Returns:
        A pandas table, a row per name: kind, name, meaning.

    Raises:
        RequestError: an unknown kind.

    Example:
        >>> rs.names("features").set_index("name").loc["difference", "meaning"]
        'x_t − x_{t−1}, from the second checkpoint on'
    """
    import pandas as pd

    import classifier.names
    import generator.names
    from generator.errors import unknown

    kinds = {**generator.names.KINDS, **classifier.names.KINDS}
    if kind is not None and kind not in kinds:
        raise unknown("kind of names", kind, kinds)
    chosen = kinds if kind is None else {kind: kinds[kind]}
    rows = [(kind, name, text) for kind, found in chosen.items() for name, text in found().items()]
    return pd.DataFrame(rows, columns=["kind", "name", "meaning"])


def command_line() -> typer.Typer:
    """All commands. What they import waits until here, where Ctrl-C is already heard."""
    import typer

    import classifier.cli
    import generator.cli

    app = typer.Typer()

    def show_version(asked: bool) -> None:
        if asked:
            typer.echo(f"rulescope {__getattr__('__version__')}")
            raise typer.Exit

    adding = typer.Option(
        [], "--plugin", metavar="FILE", help="Run this Python file first: it adds rules, observables, …"
    )

    @app.callback()
    def about(
        version: bool = typer.Option(
            False, "--version", callback=show_version, is_eager=True, help="Say which version this is."
        ),
        plugin: list[str] = adding,
    ) -> None:
        """Which learning rule produced this neural data? Simulate, measure, identify, rank."""
        for each in plugin:
            from generator.plugins import named  # which reads TOML, and draws: later

            named(each)

    generator.cli.register(app)
    classifier.cli.register(app)

    @app.command("names", rich_help_panel="Look up", epilog="Example: rulescope names features")
    def show_names(
        kind: str | None = typer.Argument(
            None, metavar="KIND", help="rules, observables, features, models, …; by default all"
        ),
    ) -> None:
        """What specs and options can name: rules, architectures, tasks, observables, feature sets, models, …"""
        from generator.console import Shown

        for title, rows in names(kind).groupby("kind", sort=False):
            Shown().table(str(title), [["name", "meaning"], *rows[["name", "meaning"]].to_numpy().tolist()])

    app.command(rich_help_panel="Look up", epilog="Example: rulescope rules --json")(generator.cli.rules)
    return app


def main() -> None:
    """Run the command line. Exit status 0: done; 1: the answer is no; 2: the request cannot be met, said in a sentence, or its
    answer cannot be shown; 130: interrupted; 141: nobody read the answer to its end."""
    try:
        status = _run()
    except KeyboardInterrupt:  # of which typer does not hear: before and after a command
        status = INTERRUPTED
    if status == INTERRUPTED:
        print("rulescope: interrupted", file=sys.stderr)
    sys.exit(status or 0)


def _run() -> int | None:
    from generator.cores import heed

    heed()  # before any library is loaded that starts threads
    import typer

    from generator.console import any_encoding
    from generator.errors import RequestError

    any_encoding()
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        status: int | None = typer.main.get_command(command_line()).main(prog_name="rulescope", standalone_mode=False)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _unheard()
        return UNREAD
    except typer.Abort:
        return INTERRUPTED
    except RequestError as error:
        return _refuse(str(error))
    except OSError as error:
        if os.environ.get(TRACEBACK):
            raise
        return _refuse(_trouble(error))
    except Exception as error:
        # typer's own complaints about the command line; anything else is a bug and keeps its traceback
        if not hasattr(error, "format_message"):
            raise
        return _refuse(_usage(error))


def _trouble(error: OSError) -> str:
    """What a disk, a file system or a network did, as a sentence."""
    said = " ".join((error.strerror or str(error) or type(error).__name__).split())
    if error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT) and error.filename is None:
        _unheard()
        return f"the answer cannot be written to where it was sent: {said}"
    where = "" if error.filename is None else f"{str(error.filename)!r}: "
    return f"{where}{said} ({TRACEBACK}=1 shows where in the code)"


def _unheard() -> None:
    """Let Python not try again, as it ends, to say what cannot be said."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _usage(error: Exception) -> str:
    """A complaint about the command line as a sentence that lists what would be known."""
    from generator.errors import unknown

    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    if context is not None and option is not None:
        known = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
        return str(unknown("option", option, [*known, "--help"], context.command_path))
    sentence = str(error.format_message())  # type: ignore[attr-defined]
    if context is not None and sentence.startswith("No such command"):
        return str(unknown("command", sentence.split("'")[1], context.command.commands))
    return " ".join(sentence.split())


def _refuse(sentence: str) -> int:
    from generator.reach import asking

    print(f"rulescope: {sentence}", file=sys.stderr, flush=True)
    if asking():  # or the process would end minutes later
        os._exit(2)
    return 2


if __name__ == "__main__":
    main()
