"""One measured figure, and the workload that all are measured on."""

from __future__ import annotations

from dataclasses import dataclass

RULES = ["sgdm", "adam", "fa", "ia"]
EPOCHS, CHECKPOINTS, PROBE, BATCH = 40, 21, 256, 128  # the fixed workload


@dataclass(frozen=True)
class Row:
    """One measured figure. A ratio says how many times better the engine is than `baseline`; where it says so, its growth."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    target: str = ""
