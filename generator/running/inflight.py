"""A cohort in training, kept so that it can go on after its worker has died: all that moves, and what was observed so far.

One safetensors file in `_inflight/`, per cohort or part of one, is replaced whole from time to time, at a checkpoint or between
two, and removed once the cohort's own files are there. It says what it must agree on, and a checksum. What was learned is
restored bit for bit, and every draw is keyed, so a resumed run ends in the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch

from generator.dataset.storage import Dataset
from generator.training.loop import Observation
from generator.training.stack import Stack

SECONDS = 20.0  # between two flushes of a cohort, at least; one that is done sooner is never flushed
LAYOUT = 3  # of the file: raised when what is remembered gets other names, so that an older file is not gone on with
SHARE = 0.05  # of the time that flushing may take

# of an observation: the kind of number, and how many axes a file has of it, the observations first
_KEPT = {"checkpoint": ("i", 1), "step": ("i", 1), "statistics": ("f", 5)}
_KEPT |= dict.fromkeys(("train_loss", "probe_loss", "probe_accuracy"), ("f", 2)) | {"diverged_at": ("i", 2)}


class Inflight:
    """The file of one cohort, or part of one, in training.

    Args:
        name: of the file in the dataset.
        about: what a file must agree on to be gone on with: networks, settings, device, versions.

    Attributes:
        refused: why a file that was there is not gone on with; empty if it is, or if there was none.
    """

    def __init__(self, dataset: Dataset, name: str, about: Mapping[str, Any]) -> None:
        self.dataset, self.name = dataset, name
        self.about = json.dumps({**about, "layout": LAYOUT}, sort_keys=True)
        self.flushed, self.cost, self.refused = time.perf_counter(), 0.0, ""

    def restore(self, stack: Stack) -> list[Observation]:
        """Set the stack to where a file left it, and return what was observed by then; nothing if there is no fitting file."""
        try:
            if not self.dataset.exists(self.name):
                return []
            content = self.dataset.read(self.name)
            arrays, said = safetensors.numpy.load(content), _metadata(content)
            if said.get("about") != self.about:
                raise ValueError("it is of other networks, settings or versions")
            if said.get("checksum") != _checksum(arrays):
                raise ValueError("it is damaged: its checksum is another")
            state = {name.removeprefix("state."): a for name, a in arrays.items() if name.startswith("state.")}
            losses = torch.from_numpy(arrays["losses"]).to(stack.device, stack.dtype)
            columns = {name: arrays[f"observed.{name}"] for name in _KEPT}
            k = (len(stack.members),)
            fits = [(a.dtype.kind, a.ndim) == _KEPT[name] and a.shape[1:2] in ((), k) for name, a in columns.items()]
            if not all(fits) or losses.shape[1:] != k:
                raise ValueError("what it observed is of another shape or type")
            seen = [_observation(row) for row in zip(*columns.values(), strict=True)]
            stack.restore(state)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, safetensors.SafetensorError) as error:
            self.refused = f"{self.name} is not gone on with, and the cohort is trained from the start: {error}"
            return []
        stack.losses = [*losses]
        return seen

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
        said = {"about": self.about, "checksum": _checksum(arrays)}
        self.dataset.publish(self.name, safetensors.numpy.save(arrays, said))
        self.flushed = time.perf_counter()
        self.cost = self.flushed - start


def _metadata(content: bytes) -> dict[str, str]:
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header.get("__metadata__", {}))


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape} ".encode())
        found.update(np.ascontiguousarray(arrays[name]).data)
    return found.hexdigest()


def _observation(row: Sequence[Any]) -> Observation:
    values: dict[str, Any] = dict(zip(_KEPT, row, strict=True))
    return Observation(**values | {name: int(values[name]) for name in ("checkpoint", "step")}, snapshots={})
