"""Which kernels compute what has several, and how one is compiled.

On a CPU a network or a block is computed at a time, on a GPU a whole stack in a call; and some of it, where a run is long enough,
in compiled code. The device decides, unless it is said here: so what a GPU would run is tested on a CPU, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from torch import Tensor

Kernels = Literal["pieces", "whole", "compiled"]
_said: Kernels | None = None


@contextmanager
def chosen(kernels: Kernels | None) -> Iterator[None]:
    """Compute in pieces, as on a CPU, whole, as on a GPU, or in compiled code, until this is left; None: as without it."""
    global _said
    before, _said = _said, kernels or _said
    try:
        yield
    finally:
        _said = before


def in_pieces(x: Tensor) -> bool:
    """Whether what is done with a tensor is done in pieces."""
    return x.device.type == "cpu" if _said is None else _said != "whole"


def in_code() -> bool:
    """Whether what can be is done in compiled code."""
    return _said == "compiled"


def compiled(function: Callable[..., Any]) -> Any:
    """A function that numba compiles when it is first called, and keeps beside its file or in the user's own cache.

    Where neither can be written to, each process compiles it. What checks the arguments of all functions in tests is taken off.
    """
    from numba import njit

    function = inspect.unwrap(function)
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # there is no place for it
        return njit(nogil=True, error_model="numpy")(function)
