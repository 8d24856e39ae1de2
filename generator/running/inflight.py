"""A cohort in training, kept so that it can go on after its worker has died: all that moves, and what was observed so far.

One safetensors file in `_inflight/`, per cohort or part of one, is replaced whole from time to time, at a checkpoint or between
two, and removed once the cohort's own files are there. What was learned is restored bit for bit, and every draw is keyed, so a
resumed run ends in the same bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch

from generator.dataset.storage import Dataset
from generator.training.loop import Observation
from generator.training.stack import Stack

SECONDS = 20.0  # between two flushes of a cohort, at least; one that is done sooner is never flushed
SHARE = 0.05  # of the time that flushing may take

_KEPT = [field.name for field in fields(Observation) if field.name != "snapshots"]


class Inflight:
    """The file of one cohort, or part of one, in training.

    Args:
        name: of the file in the dataset.
        about: what a file must agree on to be gone on with: networks, settings, device, versions.
    """

    def __init__(self, dataset: Dataset, name: str, about: Mapping[str, Any]) -> None:
        self.dataset, self.name = dataset, name
        self.about = json.dumps(about, sort_keys=True)
        self.flushed, self.cost = time.perf_counter(), 0.0

    def restore(self, stack: Stack) -> list[Observation]:
        """Set the stack to where a file left it, and return what was observed by then; nothing if there is no fitting file."""
        try:
            content = self.dataset.read(self.name)
            arrays, about = safetensors.numpy.load(content), _metadata(content)
            if about != self.about:
                return []
            state = {name.removeprefix("state."): a for name, a in arrays.items() if name.startswith("state.")}
            columns = [arrays[f"observed.{name}"] for name in _KEPT]
            losses = torch.from_numpy(arrays["losses"]).to(stack.device, stack.dtype)
            stack.restore(state)
        except (OSError, ValueError, KeyError, safetensors.SafetensorError):
            return []  # not there, damaged, or of another stack: start again
        stack.losses = [*losses]
        return [_observation(row) for row in zip(*columns, strict=True)]

    def flush(self, stack: Stack, observations: Sequence[Observation]) -> None:
        """Replace the file, unless the last flush was a moment ago."""
        start = time.perf_counter()
        if start - self.flushed < max(SECONDS, self.cost / SHARE):
            return
        arrays = {f"state.{name}": array for name, array in stack.state().items()}
        arrays["losses"] = (
            torch.stack(stack.losses).cpu().numpy() if stack.losses else np.empty((0, len(stack.members)))
        )
        for name in _KEPT:
            # in C order, which safetensors takes for granted
            arrays[f"observed.{name}"] = np.array([getattr(seen, name) for seen in observations], order="C")
        self.dataset.publish(self.name, safetensors.numpy.save(arrays, {"about": self.about}))
        self.flushed = time.perf_counter()
        self.cost = self.flushed - start


def _metadata(content: bytes) -> str:
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header.get("__metadata__", {}).get("about", "")


def _observation(row: Sequence[Any]) -> Observation:
    values: dict[str, Any] = dict(zip(_KEPT, row, strict=True))
    return Observation(**values | {name: int(values[name]) for name in ("checkpoint", "step")}, snapshots={})
