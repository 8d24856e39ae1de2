"""Sampled designs, whose stacks hold few networks, against the same shapes in full stacks: the same arithmetic per network."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial

import machine
import numpy as np
from row import Row

from generator.running.generate import generate
from generator.running.work import Receipt
from generator.spec import spec

FEW, FULL = 4, 16  # networks of a stack
PAIRS = 3
SHAPES = """
[[sample]]
name = "mlps"
shapes = 8
networks = {networks}
rule = ["sgdm", "adam", "fa", "ia"]
architecture = {{name = "mlp", depth = {{integers = [2, 5]}}, norm = ["none", "batch"]}}
nonlinearity = ["relu", "tanh", "gelu"]
width = {{log_uniform = [0.25, 3.0]}}
pixels = [8, 16]
task = {{family = ["mixture", "teacher", "texture", "sequence"], count = 100}}
batch_size = [32, 64, 128]
epochs = {{integers = [8, 40]}}
learning_rate = {{log_uniform = [0.3, 3.0]}}
most_flops = 1e10

[[sample]]
name = "convnets"
shapes = 2
networks = {networks}
rule = ["sgdm", "adam", "fa", "ia"]
architecture = {{name = "convnet", depth = {{integers = [3, 6]}}, channels = {{integers = [8, 24]}}, norm = ["none", "batch"]}}
nonlinearity = ["relu", "tanh"]
pixels = [8, 16]
task = {{family = ["mixture", "teacher", "texture", "sequence"], count = 100}}
batch_size = [32, 64, 128]
epochs = {{integers = [4, 16]}}
learning_rate = {{log_uniform = [0.3, 3.0]}}
most_flops = 1e10
"""
TEN = """observables = ["paper", "step", "population", "balance"]
[[electrode]]
units = [10, 30, 100, 300, "all"]
noise = [0.0, 0.25]
"""
MEASURED = {"the paper's observables, all units": "", "four observables, ten electrodes": TEN}


def sampled(device: str) -> Iterator[Row]:
    """Seconds per network, from the first cohort's beginning to the last receipt, on a worker per core."""
    for name, measured in MEASURED.items():
        few, full = (partial(_seconds, measured, networks, device) for networks in (FEW, FULL))
        found = machine.alternate(PAIRS, few=few, full=full)
        ratio = float(np.median(np.divide(found["full"], found["few"])))
        label = f"sampled shapes, {FEW} networks a stack against {FULL}: {name}"
        yield Row(label, float(np.median(found["few"])), "s/network", float(np.median(found["full"])), ratio, "≥ 0.8")


def _seconds(measured: str, networks: int, device: str) -> float:
    """Seconds per network of a run, but for the start of the workers."""
    received: list[tuple[float, Receipt]] = []

    def watch(done: object, receipt: Receipt | None) -> None:
        if receipt:
            received.append((time.time(), receipt))

    parsed = spec.parse(f'name = "sampled"\nprobe = 128\n{measured}{SHAPES.format(networks=networks)}')
    with tempfile.TemporaryDirectory() as folder:
        generate(parsed, folder, device=device, watch=watch)
    begun = min(datetime.fromisoformat(receipt.where["begun"]).timestamp() for _, receipt in received)
    return (received[-1][0] - begun) / len(parsed.networks)
