"""The registry of architectures. A new family is one file here and one line per member below."""

from __future__ import annotations

from generator.architectures.alexnet import AlexNet
from generator.architectures.knet import KNet
from generator.architectures.mlp import MLP
from generator.architectures.network import Family, Network
from generator.architectures.resnet import ResNet
from generator.errors import unknown

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
}


def family(name: str) -> Family:
    """An architecture by name. Raises RequestError, listing the known ones."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


__all__ = ["ARCHITECTURES", "Family", "Network", "family"]
