"""TOML files: read as what a stranger may have written, their typed values, axes, and the sentence for one that does not fit."""

from __future__ import annotations

import math
import os
import struct
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt

from generator.errors import RequestError, unknown


def single(value: int | float) -> int | float:
    """A number that single precision, in which networks learn, has, too. Raises ValueError if it is infinite there, or 0."""
    try:
        (kept,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        kept = math.inf
    if math.isinf(kept) or (kept == 0) != (value == 0):
        raise ValueError("must be a number of single precision: from 1e-45 to 3.4e+38")
    return value


PositiveInt = Annotated[StrictInt, Field(gt=0, le=2**63 - 1)]
PositiveFloat = Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False), AfterValidator(single)]
NonNegativeFloat = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False), AfterValidator(single)]

DEEPEST = 50  # tables and lists in each other
LONGEST = 200  # characters of a value that a sentence shows

T = TypeVar("T")
Axis: TypeAlias = T | Annotated[list[T], Field(min_length=1)]  # a scalar or a list


class Table(BaseModel):
    """A table whose keys are all known; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read(path: str | os.PathLike[str]) -> bytes:
    """What is in a file. Raises RequestError if there is none."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would keep its reader waiting
            raise RequestError("it is not a file")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise RequestError(getattr(error, "strerror", None) or str(error)) from error


def loads(content: str | bytes) -> dict[str, Any]:
    """The tables of a TOML file, which is UTF-8 whatever the locale.

    Raises:
        RequestError: it is none, is nested too deeply, or has a number beyond 64 bits.
    """
    try:
        found = tomllib.loads(content.decode("utf-8-sig") if isinstance(content, bytes) else content)
    except RecursionError as error:
        raise RequestError("not valid TOML: it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"not text in UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"not valid TOML: {error}") from error
    except ValueError as error:  # Python's, for thousands of digits
        raise RequestError("not valid TOML: it has a number that 64 bits do not hold") from error
    _check(found)
    return found


def _check(value: Any, key: str = "", depth: int = 0) -> None:
    if depth > DEEPEST:
        raise RequestError("not valid TOML: it is nested too deeply")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise RequestError(f"not valid TOML: {key} has a number that 64 bits do not hold")
    if isinstance(value, dict | list):
        for name, each in value.items() if isinstance(value, dict) else ((key, each) for each in value):
            _check(each, name, depth + 1)


def axis(value: Any) -> list[Any]:
    """The values of an axis, one or several."""
    return value if isinstance(value, list) else [value]


def combinations(table: Table) -> int:
    """How many there are of one value of each axis; seeds are counted apart."""
    return math.prod(len(axis(getattr(table, field))) for field in type(table).model_fields if field != "seeds")


def sentence(problem: Mapping[str, Any], owner: type[BaseModel], where: str, place: Sequence[Any]) -> RequestError:
    """A problem that pydantic found in a table, as one sentence.

    Args:
        problem: one of `ValidationError.errors()`.
        owner: the table's model; `where`: the table, as a user knows it; `place`: what of it, keys and positions.
    """
    key = next((str(part) for part in place if isinstance(part, str)), "")
    if problem["type"] == "extra_forbidden":
        return unknown("key", key, owner.model_fields, where)
    if problem["type"] == "missing":
        return RequestError(f"{where} needs a value for {key!r}")
    says = problem["msg"].removeprefix("Value error, ")
    says = says[0].lower() + says[1:]
    found = repr(problem["input"])
    return RequestError(
        f"{where}: {key or where}: {says} (found {found if len(found) <= LONGEST else found[:LONGEST] + '…'})"
    )
