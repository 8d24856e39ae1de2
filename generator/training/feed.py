"""How training stimuli reach the device: from its own memory, or decoded by threads ahead of the step that needs them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from generator.cores import cores
from generator.curricula.stimuli import Part, Resident

DECODERS = min(16, cores())  # threads that read stimuli; images are decoded outside Python's lock
AHEAD = max(4, DECODERS)  # batches being read beyond the one in use, at most
MEMORY = 1 << 30  # bytes that these may take

Seen = Callable[[int], Int[np.ndarray, "k b"]]  # which stimuli each network sees in one update


class OnDevice:
    """All stimuli lie on the device; a batch is a gather there."""

    def __init__(self, part: Resident, seen: Seen, device: torch.device, dtype: torch.dtype) -> None:
        self.seen, self.device = seen, device
        self.labels = torch.from_numpy(part.labels).to(device)
        self.images = torch.from_numpy(part.images).to(device, dtype).movedim(1, -1).contiguous()

    def take(self, step: int) -> tuple[Float[Tensor, "k b c h w"], Int64[Tensor, "k b"]]:
        """The stimuli of one update, stored channels-last, and their labels."""
        index = torch.from_numpy(self.seen(step)).to(self.device)
        x = self.images.index_select(
            0, index.flatten()
        )  # copies of whole stimuli, much faster than a gather of numbers
        return x.unflatten(0, index.shape).movedim(-1, 2), self.labels[index]


class Streamed:
    """Stimuli are decoded in threads while the device is busy with earlier batches, each once, however many networks see it."""

    def __init__(self, part: Part, seen: Seen, steps: int, device: torch.device, dtype: torch.dtype) -> None:
        self.part, self.seen, self.steps, self.device, self.dtype = part, seen, steps, device, dtype
        self.pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="stimuli")
        self.coming: dict[int, Future[list[Tensor]]] = {}
        self.ahead = AHEAD

    def take(self, step: int) -> tuple[Float[Tensor, "k b c h w"], Int64[Tensor, "k b"]]:
        """The batch of one update, read by now if the threads keep up; those that follow are under way."""
        wanted = range(step, min(step + 1 + self.ahead, self.steps))
        for unwanted in self.coming.keys() - set(wanted):
            self.coming.pop(unwanted).cancel()
        for each in wanted:
            if each not in self.coming:
                self.coming[each] = self.pool.submit(self._read, self.seen(each))
        images, place, labels = (each.to(self.device, non_blocking=True) for each in self.coming.pop(step).result())
        self.ahead = max(1, min(AHEAD, MEMORY // images.nbytes))
        x = images.to(self.dtype).index_select(0, place.flatten())
        return x.unflatten(0, place.shape).movedim(-1, 2), labels

    def _read(self, index: Int[np.ndarray, "k b"]) -> list[Tensor]:
        """The distinct stimuli of a batch, channels last, where each network finds its own, and the labels."""
        distinct, place = np.unique(index, return_inverse=True)
        images = np.ascontiguousarray(np.moveaxis(self.part.read(distinct), 1, -1))
        arrays = [images, place.reshape(index.shape), self.part.labels[index]]
        tensors = [torch.from_numpy(array) for array in arrays]
        return [tensor.pin_memory() for tensor in tensors] if self.device.type == "cuda" else tensors

    def close(self) -> None:
        """Stop reading ahead."""
        self.pool.shutdown(wait=False, cancel_futures=True)
