"""Distributions that an axis of a block may have: what is one, and the value that a uniform number in [0, 1) makes of it.

A law is `{integers = [low, high]}`, `{uniform = [low, high]}`, `{log_uniform = [low, high]}` or `{choice = [a, b]}`. A list is a
choice, a scalar is itself. Every draw takes one number, so it can be keyed by what it depends on (keys.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import PlainSerializer, ValidationError, WrapValidator

from generator.errors import RequestError, unknown
from generator.keys import stream
from generator.toml import Axis

RANGES = ("integers", "uniform", "log_uniform")
LAWS = ("choice", *RANGES)
ENTRIES = ("name", "family")  # keys of a table that is a value, not a law
DIGITS = 3  # significant ones of what is drawn from a continuous law

T = TypeVar("T")


def is_law(value: object) -> bool:
    """Whether a value of a spec is a distribution."""
    return isinstance(value, dict) and any(key in value for key in LAWS) and not any(key in value for key in ENTRIES)


def checked(law: Mapping[str, Any], valid: Callable[[Any], Any], *, counted: bool = False) -> dict[str, Any]:
    """A law as it is recorded, its choices as `valid` gives them.

    Args:
        valid: returns one value in its own type; raises what is wrong with it.
        counted: whether the law says how many values to draw.

    Raises:
        ValueError: it is none, or draws what is not valid.
    """
    known = (*LAWS, "count") if counted else LAWS
    for key in law:
        if key not in known:
            raise unknown("key", key, known, "a distribution")
    kinds = [key for key in law if key in LAWS]
    if len(kinds) > 1:
        raise RequestError(f"a distribution is one thing: give {' or '.join(kinds)}")
    if not kinds:
        raise RequestError(f"a distribution says one of {', '.join(LAWS)}")
    if counted and (isinstance(count := law.get("count"), bool) or not isinstance(count, int) or count < 1):
        raise RequestError("a grid's distribution needs a count: how many values are drawn, 1 or more")
    kind = kinds[0]
    if kind == "choice":
        options = law["choice"]
        if not isinstance(options, list) or not options:
            raise RequestError("choice takes a list of at least one value")
        return {**law, "choice": [_single(option, valid) for option in options]}
    _check_range(kind, law[kind])
    for end in law[kind]:
        _check_end(kind, end, valid)
    return dict(law)


def _single(value: Any, valid: Callable[[Any], Any]) -> Any:
    if isinstance(value, list) or is_law(value):
        raise RequestError("choice takes single values, not lists or distributions")
    return valid(value)


def _check_range(kind: str, ends: Any) -> None:
    numbers = int if kind == "integers" else (int, float)
    if (
        not isinstance(ends, list)
        or len(ends) != 2
        or not all(isinstance(end, numbers) and not isinstance(end, bool) for end in ends)
    ):
        raise RequestError(f"{kind} takes [low, high], two {'whole ' * (kind == 'integers')}numbers")
    low, high = ends
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RequestError(f"{kind} takes finite numbers")
    if low > high:
        raise RequestError(f"low must not be above high in {kind}")
    if kind == "log_uniform" and low <= 0:
        raise RequestError("log_uniform takes numbers above 0")


def _check_end(kind: str, end: Any, valid: Callable[[Any], Any]) -> None:
    if kind != "integers":
        whole = math.ceil(end)
        if _takes(whole, valid) and not _takes(float(whole), valid):
            raise RequestError(f"{kind} draws numbers that are not whole: say integers or choice")
        end = float(end)
    valid(end)


def _takes(value: Any, valid: Callable[[Any], Any]) -> bool:
    try:
        valid(value)
    except ValueError:  # of which pydantic's is one
        return False
    return True


def draw(value: Any, share: float) -> Any:
    """What a number in [0, 1) makes of a law, of a list, or of a scalar. Continuous draws have three significant digits."""
    match value:
        case {"choice": [*options]} | [*options]:
            return options[min(int(share * len(options)), len(options) - 1)]
        case {"integers": [low, high]}:
            return min(low + int(share * (high - low + 1)), high)
        case {"uniform": [low, high]}:
            return _rounded(low + share * (high - low), low, high)
        case {"log_uniform": [low, high]}:
            return _rounded(low * (high / low) ** share, low, high)
    return value


def _rounded(value: float, low: int | float, high: int | float) -> float:
    return float(min(max(float(f"{value:.{DIGITS}g}"), low), high))


def values(axis: Any, name: str, root_seed: int) -> list[Any]:
    """The values of a grid's axis. Those of a law are keyed by the axis and their index: a larger count begins with a smaller."""
    if is_law(axis):
        return [draw(axis, stream("grid", root_seed, name, index).random()) for index in range(axis["count"])]
    return axis if isinstance(axis, list) else [axis]


def count(axis: Any) -> int:
    """How many values a grid's axis has. Draws none."""
    if is_law(axis):
        return int(axis["count"])
    return len(axis) if isinstance(axis, list) else 1


def _as_it_is(value: Any) -> Any:
    return value


def _read(value: Any, valid: Callable[[Any], Any], counted: bool) -> Any:
    if is_law(value):
        return checked(value, valid, counted=counted)
    try:
        return valid(value)
    except ValidationError:
        if isinstance(value, dict) and not any(key in value for key in ENTRIES):
            checked(value, valid, counted=counted)  # says what is wrong with it as a law
        raise


def _in_a_grid(value: Any, handler: Callable[[Any], Any]) -> Any:
    return _read(value, handler, counted=True)


def _in_a_sample(value: Any, handler: Callable[[Any], Any]) -> Any:
    return _read(value, handler, counted=False)


GridAxis: TypeAlias = Annotated[Axis[T], WrapValidator(_in_a_grid), PlainSerializer(_as_it_is)]  # or a law with a count
SampleAxis: TypeAlias = Annotated[Axis[T], WrapValidator(_in_a_sample), PlainSerializer(_as_it_is)]  # or a law
