"""The `[[grid]]` blocks of a spec: cartesian products of axes, expanded to networks."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any

from pydantic import Field, StrictFloat, StrictInt, StrictStr, field_validator

from generator import architectures, rules
from generator.curricula import tasks
from generator.errors import Problems
from generator.spec import laws
from generator.spec.building import WORDS, build, check, check_words
from generator.spec.laws import GridAxis
from generator.spec.network import NetworkSpec
from generator.toml import Axis, NonNegativeFloat, PositiveFloat, PositiveInt, Table, axis

Entry = StrictStr | dict[str, Any]  # a name, or a table with one and parameters
Width = Annotated[StrictFloat, Field(gt=0, le=64)]
Pixels = Annotated[StrictInt, Field(gt=0, le=4096)]


def pinned(task: Any, about: Any) -> Any:
    """A block's tasks, each name with what is found of its data now. Raises RequestError if that has to be there and is not."""
    pin = (about.context or {}).get("pinned", tasks.pinned)

    def each(entry: Any) -> Any:
        return pin(entry) if isinstance(entry, str) else entry

    if laws.is_law(task):
        return {**task, "choice": [each(entry) for entry in task["choice"]]}
    return [each(entry) for entry in task] if isinstance(task, list) else each(task)


class Grid(Table):
    """A cartesian product of axes; every axis takes a scalar, a list or a distribution with a count, the rule no distribution."""

    task: GridAxis[StrictStr]
    architecture: GridAxis[Entry]
    rule: Axis[Entry]
    objective: GridAxis[StrictStr] = "supervised"
    nonlinearity: GridAxis[StrictStr] = "relu"
    width: GridAxis[Width] = 1.0
    stem: GridAxis[StrictStr] | None = None
    schedule: GridAxis[StrictStr] = "constant"
    precision: GridAxis[StrictStr] = "float32"
    batch_size: GridAxis[PositiveInt] = 128
    learning_rate: GridAxis[PositiveFloat] = 1.0
    epochs: GridAxis[PositiveInt] = 40
    pixels: GridAxis[Pixels] | None = None
    weight_decay: GridAxis[NonNegativeFloat] | None = None
    seeds: PositiveInt = 1

    @field_validator("task")
    @classmethod
    def _pin(cls, task: Any, about: Any) -> Any:
        return pinned(task, about)

    def count(self) -> int:
        """How many networks it makes, of which some may be equal; makes none. Seeds count twice."""
        axes = (getattr(self, field) for field in type(self).model_fields if field != "seeds")
        return math.prod(map(laws.count, axes)) * self.seeds**2

    def networks(self, where: str, *, root_seed: int, probe: int, checkpoints: int) -> list[NetworkSpec]:
        """All of them, in the order of the product. Raises RequestError for an impossible combination."""
        axes = {
            field: laws.values(getattr(self, field), field, root_seed)
            for field in type(self).model_fields
            if field not in ("seeds", "rule")
        }
        problems, parsed, built = Problems(), [], []
        for entry in axis(self.rule):
            with problems:
                parsed.append(rules.chosen(entry, where))
        for entry in axes["architecture"]:
            with problems:
                built.append(architectures.chosen(entry, where))
        for name in axes["task"]:
            with problems:
                tasks.info(name, where)
        check_words({kind: axes[kind] for kind in WORDS}, problems, where)
        problems.check()
        seeds = list(range(self.seeds))
        axes |= {"rule": parsed, "architecture": built, "model_seed": seeds, "data_seed": seeds}
        order = [*(field for field in type(self).model_fields if field != "seeds"), "model_seed", "data_seed"]
        networks = []
        for combination in itertools.product(*(axes[name] for name in order)):
            network = build(root_seed, dict(zip(order, combination, strict=True)))
            with problems:
                check(network, where, probe=probe, checkpoints=checkpoints)
            networks.append(network)
        problems.check()
        return networks
