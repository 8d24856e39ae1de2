"""What one network is: everything that defines it, and so its name, its sizes and its rate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar

from generator import plugins, rules
from generator.architectures import family
from generator.architectures.network import Family, Form, InputShape, LayerSize, measure
from generator.curricula import tasks
from generator.curricula.objectives import OBJECTIVES
from generator.dataset.schema import IDENTITY_VERSION
from generator.keys import digest
from generator.rules.schedules import SCHEDULES


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that defines one network. Defaults do not enter its identity, so a new option renames no old network.

    `task` is what is learned, and `source` the name with which that is found, where it is another one; it may change.
    `sampled` says whether it was drawn, which is no part of what it is.
    """

    root_seed: int
    rule: rules.Rule
    architecture: str
    task: str
    pixels: int
    weight_decay: float
    stem: str
    width: float = 1.0
    objective: str = "supervised"
    nonlinearity: str = "relu"
    schedule: str = "constant"
    precision: str = "float32"
    batch_size: int = 128
    learning_rate: float = 1.0
    epochs: int = 40
    model_seed: int = 0
    data_seed: int = 0
    source: str = ""
    sampled: bool = field(default=False, compare=False)

    SEEDS: ClassVar[tuple[str, ...]] = ("root_seed", "model_seed", "data_seed")

    @cached_property
    def network_id(self) -> str:
        """Hash of the network, seeds included."""
        return self._hash(self._identity())

    @cached_property
    def configuration(self) -> str:
        """Hash of everything but the seeds."""
        kept = {key: value for key, value in self._identity().items() if key not in self.SEEDS}
        return self._hash({"configuration": True, **kept})

    @property
    def stack_key(self) -> tuple[Any, ...]:
        """Networks with equal keys can be trained as one stack."""
        where = (self.architecture, self.form, self.task, self.pixels, self.objective)
        return (*where, self.schedule, self.batch_size, self.epochs, self.rule.company)

    @property
    def family(self) -> Family:
        """The architecture's family."""
        return family(self.architecture)

    @property
    def data(self) -> str:
        """The name with which the task is found."""
        return self.source or self.task

    @property
    def input(self) -> InputShape:
        """Shape of a stimulus and number of classes."""
        about = tasks.info(self.data)
        return InputShape(about.channels, self.pixels, about.classes)

    @property
    def form(self) -> Form:
        """What varies about its architecture."""
        return Form(self.nonlinearity, self.width, self.stem, OBJECTIVES[self.objective].head, self.precision)

    @property
    def sizes(self) -> tuple[LayerSize, ...]:
        """Sizes of the weight layers."""
        return measure(self.family, self.input, self.form)

    @property
    def steps_per_epoch(self) -> int:
        """Updates per pass; the rest of the training part that fills no batch is left out of that pass."""
        return tasks.info(self.data).train // self.batch_size

    @property
    def steps(self) -> int:
        """Updates in all."""
        return self.epochs * self.steps_per_epoch

    @property
    def flops(self) -> float:
        """Floating-point operations of its training: 3 products per layer and update, a multiply-add counting as 2."""
        shown = self.batch_size * OBJECTIVES[self.objective].shown
        return 6.0 * sum(size.macs for size in self.sizes) * shown * self.steps

    @property
    def rate(self) -> float:
        """Learning rate: multiplier × base rate × what the schedule makes of the batch size."""
        return self.learning_rate * self.rule.base_rate * SCHEDULES[self.schedule].scale(self.batch_size)

    def rate_factor(self, step: int) -> float:
        """The schedule's factor on the rate at one update, counted from 0."""
        return SCHEDULES[self.schedule].factor(step, self.steps)

    def _identity(self) -> dict[str, Any]:
        defaults = {f.name: f.default for f in fields(self)}
        defaults |= {"pixels": default_pixels(self.data, self.architecture), "weight_decay": self.family.weight_decay}
        defaults["stem"] = self.family.default_stem(self.pixels)
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("rule", "source", "sampled")}
        kept = {name: value for name, value in values.items() if value != defaults[name]}
        kept["rule"] = self.rule.label
        if self.rule.overrides:
            kept["rule_parameters"] = dict(self.rule.overrides)
        used = {"PATHWAYS": self.rule.pathway, "UPDATES": self.rule.update, "TASKS": self.task}
        used["ARCHITECTURES"] = self.architecture.partition("(")[0]
        if brought := {kind: said for kind, name in used.items() if (said := plugins.origin(kind, name))}:
            kept["plugins"] = brought
        return kept

    @staticmethod
    def _hash(identity: Mapping[str, Any]) -> str:
        return digest(json.dumps({"identity": IDENTITY_VERSION, **identity}, sort_keys=True))


def default_pixels(task: str, architecture: str) -> int:
    """The task's native side length, or the smallest other one that the architecture takes; 0 if it comes at any."""
    sides = tasks.info(task).sides
    enough = [side for side in sides if side >= family(architecture).min_pixels]
    return next(iter((*enough, *sides)), 0)
