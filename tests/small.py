"""A spec of 48 small networks, made in seconds: two rules in two mlps."""

from __future__ import annotations

from typing import Any

SPEC: dict[str, Any] = {
    "name": "small",
    "checkpoints": 4,
    "probe": 32,
    "grid": [
        {
            "task": "digits",
            "architecture": ["mlp2", "mlp3"],
            "rule": ["sgdm", "adam"],
            "learning_rate": [0.5, 1.0, 2.0],
            "width": 0.0625,
            "batch_size": 200,
            "epochs": 1,
            "seeds": 2,
        }
    ],
}
