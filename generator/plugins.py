"""A user's own rules, observables, architectures, tasks and classifiers: Python files that a spec names, or installed packages.

A plugin says what it adds in dictionaries of these names:

    PATHWAYS, UPDATES   a name and a class (generator/rules/contract.py)
    OBSERVABLES         a name and a class (generator/observables/contract.py)
    ARCHITECTURES       a name and a `Family`, or a `Parametrised` one
    TASKS               a name and a `TaskInfo` (generator/curricula/stimuli.py)
    CLASSIFIERS         a name and a classifier of scikit-learn's kind

It is code, and runs: here, when the spec that names it is read, and on every worker. So nothing but a person's own word runs one:
a spec file that they name, `--plugin`, or a package that they installed (entry point `rulescope.plugins`). A dataset remembers
which it needs, by name and hash, and does not bring them.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from generator import toml
from generator.errors import RequestError
from generator.keys import digest

KINDS = ("PATHWAYS", "UPDATES", "OBSERVABLES", "ARCHITECTURES", "TASKS", "CLASSIFIERS")
GROUP = "rulescope.plugins"  # of entry points


@dataclass(frozen=True)
class Plugin:
    """A plugin's file: its name and its text."""

    name: str
    source: str

    @property
    def pinned(self) -> str:
        """Its name and the hash of its text."""
        return f"{self.name}@{digest(self.source)}"


_RUN: dict[str, Plugin] = {}  # by name
_ADDED: dict[tuple[str, str], tuple[Plugin, Any]] = {}  # what they added, by kind and name
_TAKERS: dict[str, Callable[[str, Any], None]] = {}


def taken_by(kind: str, take: Callable[[str, Any], None]) -> None:
    """Let a registry have what plugins add of one kind, those that have run already and those that will.

    `take` is called with a name and what it stands for. It raises RequestError for what it cannot take.
    """
    _TAKERS[kind] = take
    for (of, name), (_, thing) in _ADDED.items():
        if of == kind:
            take(name, thing)


def add(known: dict[str, Any], name: str, thing: Any, fits: bool, what: str) -> None:
    """Add a name to a registry. Raises RequestError if it has that name already, or the thing does not fit."""
    if not fits:
        raise RequestError(f"{name!r} is not {what}")
    if not name.isidentifier():
        raise RequestError(f"{name!r} is no name: it may have letters, digits and underscores")
    if name in known:
        raise RequestError(f"{name!r} is a name that Rulescope has already: choose another one")
    known[name] = thing


def origin(kind: str, name: str) -> str:
    """Which plugin a name came with, and its hash; nothing if it came with Rulescope."""
    found = _ADDED.get((kind, name))
    return found[0].pinned if found else ""


def named(entry: str, base: Path = Path()) -> Plugin:
    """Run the plugin that a person names, a file, relative to `base`, unless it has run; or one by its hash, as `needed` has it.

    Raises RequestError if there is no such file, it is not Python, it fails, or adds what cannot be added.
    """
    if "@" in entry:
        return needed(entry)
    if not entry.endswith(".py"):
        raise RequestError(f"a plugin is a Python file, such as my_rule.py, not {entry!r}")
    try:
        plugin = Plugin(Path(entry).name, toml.read(base / entry).decode())
    except (RequestError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read the plugin {entry}: {error}") from error
    if plugin.name not in _RUN:
        print(f"rulescope: {base / entry} is code, and runs", file=sys.stderr, flush=True)
    return run(plugin)


def needed(entry: str) -> Plugin:
    """The plugin that a dataset's spec names with its hash. Raises RequestError if it has not run: here nothing does."""
    name, at, _ = entry.partition("@")
    if not at:
        raise RequestError(
            f"a dataset's spec has the hash of a plugin behind its name, as in my_rule.py@0123abcd; this is {entry!r}"
        )
    if name in _RUN and _RUN[name].pinned == entry:
        return _RUN[name]
    there = f", not as {_RUN[name].pinned}" if name in _RUN else ""
    raise RequestError(
        f"it needs the plugin {name} as {entry}{there}, which is code and came with no dataset: say where it is, "
        f"and that it may run, with --plugin {name} before the command"
    )


def run(plugin: Plugin) -> Plugin:
    """Run a plugin and add what it says. Does nothing if it has run. Raises RequestError as `named` does."""
    if (earlier := _RUN.get(plugin.name)) is not None:
        if earlier != plugin:
            raise RequestError(f"another {plugin.name} has run in this process already: start a new one")
        return plugin
    module = ModuleType(f"rulescope_plugin_{digest(plugin.source)}")
    module.__file__ = plugin.name
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(plugin.source, plugin.name, "exec"), module.__dict__)
    except Exception as error:
        raise RequestError(f"the plugin {plugin.name} fails: {_where(error, plugin.name)}") from error
    _add_all(plugin, vars(module))
    _RUN[plugin.name] = plugin
    return plugin


@cache
def installed() -> None:
    """Run the plugins of installed packages. Raises RequestError for one that fails, or adds what cannot be added."""
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            module = point.load()
        except Exception as error:
            raise RequestError(f"the plugin {point.value} of an installed package fails: {error!r}") from error
        source = Path(module.__file__).read_text(encoding="utf-8") if getattr(module, "__file__", None) else ""
        _add_all(Plugin(point.value, source), vars(module))


def _add_all(plugin: Plugin, found: Mapping[str, Any]) -> None:
    tables = {kind: found[kind] for kind in KINDS if isinstance(found.get(kind), Mapping)}
    added = [(kind, *each) for kind, table in tables.items() for each in table.items()]
    if not added:
        raise RequestError(f"the plugin {plugin.name} adds nothing: it has none of {', '.join(KINDS)}")
    for kind, name, thing in added:
        try:
            if kind in _TAKERS:
                _TAKERS[kind](name, thing)
        except RequestError as error:
            raise RequestError(f"the plugin {plugin.name} cannot add to {kind}: {error}") from error
        _ADDED[kind, name] = (plugin, thing)


def _where(error: Exception, name: str) -> str:
    """What went wrong, and in which line of the plugin."""
    trace, line = error.__traceback__, getattr(error, "lineno", None)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return said if line is None else f"line {line}: {said}"
