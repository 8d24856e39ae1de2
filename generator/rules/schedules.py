"""How the learning rate moves during training, as a factor on a network's rate. A new schedule is a class and a line below."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Schedule(ABC):
    """The contract of a schedule."""

    def scale(self, batch_size: int) -> float:
        """The factor that a batch size brings to the rate."""
        return 1.0

    @abstractmethod
    def factor(self, step: int, steps: int) -> float:
        """The factor of one update, counted from 0, of so many."""


class Constant(Schedule):
    """The same rate throughout."""

    def factor(self, step: int, steps: int) -> float:
        """1."""
        return 1.0


class WarmupSteps(Schedule):
    """Linear warm-up over 5 of 100 epochs, ÷10 at 30, 60 and 80; linear in batch size, 1 at 256 (Goyal et al. 2017, 1706.02677).

    Of another number of epochs, the same shares of it (the companion paper's schedule, Kunin et al. 2020, released code).
    """

    warmup, drops, reference = 0.05, (0.3, 0.6, 0.8), 256

    def scale(self, batch_size: int) -> float:
        """Proportional to the batch size."""
        return batch_size / self.reference

    def factor(self, step: int, steps: int) -> float:
        """Up to 1 during the warm-up, then 1, 0.1, 0.01, 0.001."""
        passed = step / steps
        if passed < self.warmup:
            return min(1.0, (step + 1) / (self.warmup * steps))
        return 0.1 ** sum(passed >= drop for drop in self.drops)


SCHEDULES: dict[str, Schedule] = {"constant": Constant(), "warmup-steps": WarmupSteps()}
