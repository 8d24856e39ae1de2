"""Stimuli from memory and stimuli read ahead by threads are the same stimuli."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from oracles import member

from generator.curricula import tasks
from generator.curricula.stimuli import Part, Resident
from generator.training import loop
from generator.training.feed import AHEAD, OnDevice, Streamed
from generator.training.stack import Stack

MEMBERS = [member("sgdm", "mlp2", data_seed=seed, batch_size=100) for seed in (0, 0, 1)]


@dataclass
class Watched:
    """A part that notes what is read of it, and where."""

    part: Resident
    reads: list[np.ndarray] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    @property
    def labels(self) -> np.ndarray:
        return self.part.labels

    def read(self, index: np.ndarray) -> np.ndarray:
        self.reads.append(index)
        self.threads.add(threading.current_thread().name)
        return self.part.read(index)


def streamed(built: Stack, part: Part) -> Streamed:
    return Streamed(part, built.seen, built.first.steps, built.device, built.dtype)


def test_streamed_batches_equal_those_in_memory_in_any_order() -> None:
    with closing(Stack(MEMBERS)) as built:
        part = Watched(built.task.train)
        feed = streamed(built, part)
        for step in (0, 1, 2, 7, 13, 3):
            for ours, theirs in zip(feed.take(step), built.feed.take(step), strict=True):
                assert torch.equal(ours, theirs)
        feed.close()
    assert isinstance(built.feed, OnDevice)
    assert all(name.startswith("stimuli") for name in part.threads)
    assert all(len(np.unique(index)) == len(index) <= 200 for index in part.reads)  # two networks share a seed


def test_what_comes_next_is_under_way_and_nothing_beyond_the_end() -> None:
    with closing(Stack(MEMBERS)) as built:
        feed = streamed(built, Watched(built.task.train))
        feed.take(0)
        assert sorted(feed.coming) == list(range(1, min(AHEAD + 1, built.first.steps)))
        feed.take(built.first.steps - 1)
        assert not feed.coming
        feed.close()


def test_a_large_task_is_streamed_and_standardised_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    known, seen = tasks.load("digits", 8), {}
    whole = list(loop.train(MEMBERS, checkpoints=3, probe=16))
    monkeypatch.setattr(tasks, "SMALL", 0)
    monkeypatch.setattr(tasks, "SAMPLE", 1400)
    lazy = Watched(known.train), Watched(known.test)
    monkeypatch.setitem(
        tasks.TASKS, "digits", tasks.TaskInfo(1, 10, 1400, 397, (8, 16), lambda pixels: seen.setdefault(pixels, lazy))
    )
    tasks.info.cache_clear()
    tasks.load.cache_clear()
    try:
        with closing(Stack(MEMBERS)) as built:
            assert isinstance(built.feed, Streamed)
            assert abs(built.task.train.mean) < 1e-4
            assert built.task.train.std == pytest.approx(1, abs=1e-4)
        streamed_too = list(loop.train(MEMBERS, checkpoints=3, probe=16))
    finally:
        tasks.info.cache_clear()
        tasks.load.cache_clear()
    for ours, theirs in zip(streamed_too, whole, strict=True):
        np.testing.assert_allclose(ours.statistics, theirs.statistics, rtol=1e-3, atol=1e-4)


class Broken:
    """A part whose files cannot be read."""

    labels = np.zeros(1400, np.int64)

    def read(self, index: np.ndarray) -> np.ndarray:
        raise ValueError("a broken file")


def test_an_error_while_reading_reaches_the_step_that_needs_it() -> None:
    with closing(Stack(MEMBERS)) as built:
        feed = streamed(built, Broken())
        with pytest.raises(ValueError, match="a broken file"):
            feed.take(0)
        feed.close()
