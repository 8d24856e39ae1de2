"""Which kernels compute what has two: those of a CPU, a network or a block at a time, or those of a GPU, a whole stack in a call.

The device decides, unless it is said here: so what a GPU would run is tested on a CPU, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torch import Tensor

Kernels = Literal["pieces", "whole"]
_said: Kernels | None = None


@contextmanager
def chosen(kernels: Kernels) -> Iterator[None]:
    """Compute in pieces, as on a CPU, or whole, as on a GPU, until this is left."""
    global _said
    before, _said = _said, kernels
    try:
        yield
    finally:
        _said = before


def in_pieces(x: Tensor) -> bool:
    """Whether what is done with a tensor is done in pieces."""
    return x.device.type == "cpu" if _said is None else _said == "pieces"
