"""The registry of architectures. A new family is one file here and one line per member, or one with its parameters, below."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from generator import plugins
from generator.architectures.alexnet import AlexNet
from generator.architectures.convnet import ConvNet
from generator.architectures.knet import KNet
from generator.architectures.mlp import MLP
from generator.architectures.network import Family, Network
from generator.architectures.parameters import Parametrised, place
from generator.architectures.resnet import ResNet
from generator.architectures.vnn import VNN
from generator.errors import RequestError, unknown

ARCHITECTURES: dict[str, Family] = {
    "mlp2": Family(MLP, {"depth": 2}, min_pixels=1, weight_decay=0.0),
    "mlp3": Family(MLP, {"depth": 3}, min_pixels=1, weight_decay=0.0),
    "knet4": Family(KNet, {"depth": 4, "norm": "batch"}, min_pixels=12, weight_decay=1e-5),
    "knet4lrn": Family(KNet, {"depth": 4, "norm": "lrn"}, min_pixels=12, weight_decay=1e-5),
    "knet5": Family(KNet, {"depth": 5, "norm": "batch"}, min_pixels=24, weight_decay=1e-5),
    "knet5lrn": Family(KNet, {"depth": 5, "norm": "lrn"}, min_pixels=24, weight_decay=1e-5),
    "alexnet": Family(AlexNet, {"norm": False}, min_pixels=16, weight_decay=5e-4, stems=True),
    "alexnetlrn": Family(AlexNet, {"norm": True}, min_pixels=16, weight_decay=5e-4, stems=True),
    "resnet18": Family(ResNet, {"depth": 18, "version": 1}, min_pixels=16, weight_decay=1e-4, stems=True),
    "resnet18v2": Family(ResNet, {"depth": 18, "version": 2}, min_pixels=16, weight_decay=1e-4, stems=True),
    "resnet34": Family(ResNet, {"depth": 34, "version": 1}, min_pixels=16, weight_decay=1e-4, stems=True),
    "resnet34v2": Family(ResNet, {"depth": 34, "version": 2}, min_pixels=16, weight_decay=1e-4, stems=True),
    "vnn2": Family(VNN, {"depth": 2}, min_pixels=1, weight_decay=0.0),
    "vnn3": Family(VNN, {"depth": 3}, min_pixels=1, weight_decay=0.0),
}
# Families whose parameters a spec may set. A set of values that has a name above goes by that one.
PARAMETRISED: dict[str, Parametrised] = {
    "mlp": Parametrised(MLP, MLP.PARAMETERS, smallest=lambda values: 1, weight_decay=0.0),
    "convnet": Parametrised(
        ConvNet, ConvNet.PARAMETERS, smallest=lambda values: values["kernel"] // 2 + 1, weight_decay=1e-5
    ),
}


def _take(name: str, thing: Any) -> None:
    """Add what a plugin brings."""
    if isinstance(thing, Parametrised):
        plugins.add(PARAMETRISED, name, thing, name not in ARCHITECTURES, "free")
    else:
        plugins.add(ARCHITECTURES, name, thing, isinstance(thing, Family), "a Family or a Parametrised one")


plugins.taken_by("ARCHITECTURES", _take)


def chosen(entry: str | Mapping[str, Any], where: str = "") -> str:
    """Read a spec's architecture: a name, or a table {name = "mlp", depth = 4} that sets parameters. Its one name.

    Raises:
        RequestError: unknown name or parameter, or a value outside its range; the sentence says what there is.
    """
    if isinstance(entry, str):
        if entry not in PARAMETRISED:
            family(entry, where)
            return entry
        entry = {"name": entry}
    given = dict(entry)
    if not isinstance(name := given.pop("name", None), str):
        raise RequestError(
            f'an architecture{place(where)} is a name or a table with one, such as {{name = "mlp", depth = 4}}'
        )
    if name in PARAMETRISED:
        return _name(name, PARAMETRISED[name].checked(given, name, where))
    fixed = family(name, where)
    if given and (kind := fixed.name) in PARAMETRISED:
        raise RequestError(
            f'architecture {name!r}{place(where)} stands for parameters already: set them in a table with name = "{kind}"'
        )
    if given:
        raise RequestError(
            f"architecture {name!r}{place(where)} takes no parameters (found {', '.join(map(repr, given))}); "
            f"those that do: {', '.join(sorted(PARAMETRISED))}"
        )
    return name


@lru_cache(maxsize=4096)
def family(name: str, where: str = "") -> Family:
    """An architecture by its one name, such as knet4 or mlp(depth=4,norm=batch).

    Raises:
        RequestError: there is no such name; the sentence lists the known ones, or says which parameter is wrong.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    matched = re.fullmatch(r"(\w+)(?:\((.*)\))?", name, re.DOTALL)
    kind, inside = matched.groups() if matched else (name, None)
    if kind not in PARAMETRISED:
        raise unknown("architecture", name, [*ARCHITECTURES, *PARAMETRISED], where)
    about = PARAMETRISED[kind]
    try:
        given = {} if inside is None else about.read(inside)
    except ValueError as error:
        raise RequestError(
            f"architecture {name!r}{place(where)} is not written as one with parameters, such as {kind}(depth=4,norm=batch)"
        ) from error
    values = about.checked(given, kind, where)
    if name != (canonical := _name(kind, values)):
        raise RequestError(f"architecture {name!r}{place(where)} has another name here: {canonical}")
    return Family(about.build, values, min_pixels=about.smallest(values), weight_decay=about.weight_decay)


def _name(kind: str, values: Mapping[str, Any]) -> str:
    """The one name of a family with these values of its parameters."""
    about = PARAMETRISED[kind]
    for name, known in ARCHITECTURES.items():
        if known.build is about.build and about.filled(known.options) == values:
            return name
    label = about.label(values)
    return f"{kind}({label})" if label else kind


__all__ = ["ARCHITECTURES", "PARAMETRISED", "Family", "Network", "chosen", "family"]
