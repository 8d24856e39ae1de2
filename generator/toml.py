"""What the tables of a TOML file are made of: typed values, axes, and the sentence for a value that does not fit."""

from __future__ import annotations

import math
import struct
import tomllib
from collections.abc import Mapping, Sequence
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

T = TypeVar("T")
Axis: TypeAlias = T | Annotated[list[T], Field(min_length=1)]  # a scalar or a list


class Table(BaseModel):
    """A table whose keys are all known; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def loads(content: str | bytes) -> dict[str, Any]:
    """The tables of a TOML file, which is UTF-8 whatever the locale. Raises RequestError if it is none."""
    try:
        return tomllib.loads(content.decode("utf-8-sig") if isinstance(content, bytes) else content)
    except UnicodeDecodeError as error:
        raise RequestError(f"not text in UTF-8: {error}") from error
    except (ValueError, RecursionError) as error:  # also of a number that has too many digits
        raise RequestError(f"not valid TOML: {error}") from error


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
    return RequestError(f"{where}: {key or where}: {says} (found {problem['input']!r})")
