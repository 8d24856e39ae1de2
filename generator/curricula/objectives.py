"""The registry of objectives: what a network optimises. A new one is a file in this folder and a line below."""

from __future__ import annotations

from generator.curricula.contract import Objective
from generator.curricula.simclr import SimCLR
from generator.curricula.supervised import Supervised

OBJECTIVES: dict[str, Objective] = {"supervised": Supervised(), "simclr": SimCLR()}
