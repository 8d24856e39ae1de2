"""The registry of observables: what is measured in every layer at every checkpoint.

A new one is a file in this folder and a line below; a spec then asks for it with `observables = ["paper", "name"]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from generator import plugins
from generator.dataset.schema import Statistic
from generator.errors import RequestError, unknown
from generator.observables.activation import Activation
from generator.observables.balance import Balance
from generator.observables.change import ActivityChange
from generator.observables.contract import Observable
from generator.observables.coupling import Coupling
from generator.observables.population import Population
from generator.observables.step import Step
from generator.observables.transport import Transport
from generator.observables.weight import Weight

OBSERVABLES: dict[str, type[Observable]] = {
    each.name: each for each in (Weight, Activation, ActivityChange, Step, Population, Balance, Transport, Coupling)
}
PAPER = ("weight", "activation", "change")  # of Nayebi et al. 2020
SETS = {"paper": PAPER}


def _take(name: str, thing: Any) -> None:
    """Add what a plugin brings."""
    fits = isinstance(thing, type) and issubclass(thing, Observable) and thing.name == name and name not in SETS
    plugins.add(OBSERVABLES, name, thing, fits, "a subclass of Observable with this name")


plugins.taken_by("OBSERVABLES", _take)


def chosen(names: Sequence[str], where: str = "observables") -> tuple[str, ...]:
    """The observables that a spec names, sets spelled out. Raises RequestError for an unknown or a repeated one."""
    found = [one for name in names for one in SETS.get(name, (name,))]
    for name in found:
        if name not in OBSERVABLES:
            raise unknown("observable", name, [*SETS, *OBSERVABLES], where)
    if not found or len(set(found)) < len(found):
        raise RequestError(f"{where} must name at least one observable, and each once ('paper' is {', '.join(PAPER)})")
    return tuple(found)


def statistics(names: Sequence[str] = PAPER) -> list[Statistic]:
    """All statistics of these observables, in the order of their columns."""
    return [one for name in names for one in OBSERVABLES[name].statistics]
