"""Parameters of architectures: what may be set, in which range, and the one name of a family with some of them set.

`mlp(depth=4,norm=batch)` is such a name: parameters sorted, defaults left out, numbers in Python's shortest form. It is what a
network's identity, its initial weights and the dataset's column `architecture` go by.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from generator.errors import Problems, RequestError, unknown

LONGEST = 60  # characters of a value that a sentence shows
Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Parameter(ABC):
    """One parameter. Its values are scalars.

    Args:
        default: left out of a name.
        meaning: a phrase for people.
        from_depth: the number of weight layers from which on it has any effect; below, it is left out of a name, too.
    """

    default: Any
    meaning: str
    from_depth: int = 1

    @property
    @abstractmethod
    def range(self) -> str:
        """What it may be, in words."""

    @abstractmethod
    def valid(self, value: object) -> Any:
        """The value in its own type. Raises ValueError if it is none of this parameter's."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """A value from a name; the text itself if that is none."""

    def written(self, value: Any) -> str:
        """A value in a name."""
        return str(value)


@dataclass(frozen=True, kw_only=True)
class Whole(Parameter):
    """A whole number from `low` to `high`."""

    low: int
    high: int

    @property
    def range(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def valid(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ValueError
        return value

    def read(self, text: str) -> Any:
        return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else text


@dataclass(frozen=True, kw_only=True)
class Real(Parameter):
    """A number from `low` to `high`."""

    low: float
    high: float

    @property
    def range(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def valid(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise ValueError
        return float(value)

    def read(self, text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            return text

    def written(self, value: float) -> str:
        return repr(value)


@dataclass(frozen=True, kw_only=True)
class Choice(Parameter):
    """One of a few words or whole numbers."""

    options: tuple[str | int, ...]

    @property
    def range(self) -> str:
        *others, last = (str(option) for option in self.options)
        return f"{', '.join(others)} or {last}"

    def valid(self, value: object) -> str | int:
        if isinstance(value, bool) or not isinstance(value, int | str) or value not in self.options:
            raise ValueError
        return value

    def read(self, text: str) -> Any:
        return next((option for option in self.options if str(option) == text), text)


@dataclass(frozen=True, kw_only=True)
class Switch(Parameter):
    """True or false."""

    default: bool = False

    @property
    def range(self) -> str:
        return "true or false"

    def valid(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    def read(self, text: str) -> Any:
        return {"true": True, "false": False}.get(text, text)

    def written(self, value: bool) -> str:
        return str(value).lower()


@dataclass(frozen=True)
class Parametrised:
    """A family with parameters, one of which is `depth`.

    Args:
        build: its class; takes the parameters as keyword arguments.
        smallest: the smallest side of an input, of all parameters' values.
        weight_decay: the default L2 penalty.
    """

    build: Any
    parameters: Mapping[str, Parameter]
    smallest: Callable[[Values], int]
    weight_decay: float

    def filled(self, given: Values) -> dict[str, Any]:
        """The value of every parameter: as given, or its default, which is also that of one without any effect."""
        values = {name: given.get(name, one.default) for name, one in self.parameters.items()}
        acts = {name: values["depth"] >= one.from_depth for name, one in self.parameters.items()}
        return {name: values[name] if acts[name] else one.default for name, one in self.parameters.items()}

    def label(self, values: Values) -> str:
        """What stands in parentheses in a name."""
        shown = {
            name: one.written(values[name]) for name, one in self.parameters.items() if values[name] != one.default
        }
        return ",".join(f"{name}={shown[name]}" for name in sorted(shown))

    def checked(self, given: Mapping[str, object], name: str, where: str) -> dict[str, Any]:
        """All values, those given checked. Raises RequestError, with all that is wrong."""
        problems, kept = Problems(), {}
        for key, value in given.items():
            with problems:
                if key not in self.parameters:
                    raise unknown(f"parameter of architecture {name}:", key, self.parameters, where)
                try:
                    kept[key] = self.parameters[key].valid(value)
                except ValueError:
                    raise RequestError(
                        f"parameter {key!r} of architecture {name!r}{place(where)} must be {self.parameters[key].range}, "
                        f"not {shortened(value)}"
                    ) from None
        problems.check()
        return self.filled(kept)

    def read(self, text: str) -> dict[str, Any]:
        """What stands in parentheses in a name, not yet checked. Raises ValueError if that is no list of parameters."""
        pairs = [part.split("=") for part in text.split(",")]
        found = {key: self.parameters[key].read(value) if key in self.parameters else value for key, value in pairs}
        if len(found) < len(pairs):
            raise ValueError("a parameter stands there twice")
        return found


def place(where: str) -> str:
    """Where something is wrong, as the end of a phrase."""
    return f" in {where}" if where else ""


def shortened(value: object) -> str:
    """A value as a sentence shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
