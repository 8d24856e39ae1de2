"""Every name that a spec takes, with its meaning, read off the registries (`rulescope names`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable


def _meaning(thing: object) -> str:
    """The first sentence of its docstring."""
    text = " ".join((inspect.getdoc(thing if inspect.isclass(thing) else type(thing)) or "").split())
    return text.partition(". ")[0].removesuffix(".")


def _rules() -> dict[str, str]:
    from generator.rules import ALIASES, PATHWAYS, UPDATES

    found = {}
    for alias, name in ALIASES.items():
        pathway, update = name.split("+")
        found[alias] = f"{_meaning(PATHWAYS[pathway])}; {_meaning(UPDATES[update])}"
    return found | {"pathway+update": f"any of {', '.join(PATHWAYS)} with any of {', '.join(UPDATES)}"}


def _architectures() -> dict[str, str]:
    from generator.architectures import ARCHITECTURES, PARAMETRISED

    def one(name: str) -> str:
        family = ARCHITECTURES[name]
        shape = ", ".join(f"{key} {value}" for key, value in family.options.items())
        return f"{_meaning(family.build)} ({shape}; at least {family.min_pixels} pixels a side)"

    found = {name: one(name) for name in ARCHITECTURES}
    for name, about in PARAMETRISED.items():
        found[f"{name}(…)"] = f'{_meaning(about.build)}; {{name = "{name}", …}} sets its parameters:'
        for key, parameter in about.parameters.items():
            default = parameter.written(parameter.default)
            found[f"{name}({key}=…)"] = f"{parameter.meaning}: {parameter.range} (default {default})"
    return found


def _tasks() -> dict[str, str]:
    from generator.curricula.tasks import NUMBERED, TASKS

    numbered = {
        name.replace("<number>", "N"): f"{_meaning(family)}; N sets {', '.join(family.laws())}"
        for name, family in NUMBERED.items()
    }
    more = {
        "hub:NAME": "a classification set of Hugging Face's `datasets`",
        "folder:PATH": "folders of images or sounds",
    }
    return {name: info.meaning for name, info in TASKS.items()} | numbered | more


def _objectives() -> dict[str, str]:
    from generator.curricula.objectives import OBJECTIVES

    return {name: _meaning(one) for name, one in OBJECTIVES.items()}


def _observables() -> dict[str, str]:
    from generator.observables import OBSERVABLES, SETS

    sets = {name: f"the set of {', '.join(members)}" for name, members in SETS.items()}
    return sets | {name: f"{_meaning(one)} ({len(one.statistics)} statistics)" for name, one in OBSERVABLES.items()}


def _noise() -> dict[str, str]:
    from generator.dataset.noise import MODES

    return {name: _meaning(mode) for name, mode in MODES.items()}


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "rules": _rules,
    "architectures": _architectures,
    "tasks": _tasks,
    "objectives": _objectives,
    "observables": _observables,
    "noise": _noise,
}
