"""The registry of architectures. A new family is one file here and one line per member below."""

from __future__ import annotations

from generator.architectures.knet import KNet
from generator.architectures.mlp import MLP
from generator.architectures.network import Family, Network
from generator.errors import unknown

ARCHITECTURES: dict[str, Family] = {
    "mlp2": Family(MLP, {"depth": 2}, min_pixels=1, weight_decay=0.0),
    "mlp3": Family(MLP, {"depth": 3}, min_pixels=1, weight_decay=0.0),
    "knet4": Family(KNet, {"norm": "batch"}, min_pixels=16, weight_decay=1e-5),
    "knet4lrn": Family(KNet, {"norm": "lrn"}, min_pixels=16, weight_decay=1e-5),
}


def family(name: str) -> Family:
    """An architecture by name. Raises RequestError, listing the known ones."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


__all__ = ["ARCHITECTURES", "Family", "Network", "family"]
