"""Which checkpoints an experimenter's sessions see. A sampling's name says all about it and is read back (`Sampling.named`).

| name | checkpoints (of n) |
|---|---|
| `all` | every one |
| `sessions8` | 8, evenly from the first to the last, rounded as the generator rounds its checkpoints; `sessions1`: the last |
| `every3` | 0, 3, 6, … |
| `first5`, `last5` | a window at the start, or the end |
| `only7` | number 7 alone, from 0 |
| `jittered8`, `jittered8_seed1` | 8 around the evenly spread ones, other ones for every network |

Of a single checkpoint only the transform `levels` says anything: `features.suited` falls back to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from classifier.examples.trajectories import Examples, load
from generator.errors import RequestError
from generator.keys import stream

KINDS = {  # each followed by a number N
    "sessions": "N checkpoints, evenly from the first to the last; of one, the last",
    "every": "every N-th checkpoint, from the first on",
    "first": "the first N checkpoints",
    "last": "the last N checkpoints",
    "only": "checkpoint N alone, from 0",
    "jittered": "N checkpoints around evenly spread ones, others for every network",
}
ALL = "all"
_NAME = re.compile(rf"(?P<kind>{'|'.join(KINDS)})(?P<number>\d+)(?:_seed(?P<seed>\d+))?")


@dataclass(frozen=True)
class Sampling:
    """One choice of checkpoints.

    Args:
        kind: "all", or one of `KINDS`.
        number: of checkpoints; of `every` the distance between them, of `only` the checkpoint itself.
        seed: of the jitter.
    """

    kind: str = ALL
    number: int = 0
    seed: int = 0

    @property
    def name(self) -> str:
        """What it is called, e.g. `jittered8_seed1`."""
        return ALL if self.kind == ALL else f"{self.kind}{self.number}" + f"_seed{self.seed}" * (self.seed > 0)

    @classmethod
    def named(cls, name: str) -> Sampling:
        """Read a sampling's name back; the inverse of `Sampling.name`. Raises RequestError if it is not one."""
        found = _NAME.fullmatch(name)
        sampling = cls(found["kind"], int(found["number"]), int(found["seed"] or 0)) if found else cls()
        if sampling.name != name or (sampling.seed and sampling.kind != "jittered"):
            known = ", ".join([ALL, *(f"{kind}N" for kind in KINDS)])
            raise RequestError(
                f"{name!r} is not the name of a sampling of checkpoints; known, with a number N: {known}"
            )
        return sampling


def even(number: int, checkpoints: int) -> NDArray[np.intp]:
    """(number,) evenly spread checkpoints, rounded (half to even), from the first to the last; of one, the last."""
    if number == 1:
        return np.array([checkpoints - 1], dtype=np.intp)
    return np.array([round(index * (checkpoints - 1) / (number - 1)) for index in range(number)], dtype=np.intp)


def jittered(number: int, checkpoints: int, network: str, seed: int) -> NDArray[np.intp]:
    """(number,) checkpoints of one network, strictly increasing: each uniform within half a distance of an even one.

    Keyed by the network, so that all its layers share them and they depend on no other network.
    """
    distance = (checkpoints - 1) / max(number - 1, 1)
    centers = even(1, checkpoints) if number == 1 else np.arange(number) * distance
    return _placed(
        centers + distance * stream("sampling", seed, number, network).uniform(-0.5, 0.5, number), checkpoints
    )


def spread(times: Sequence[float], checkpoints: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """(sessions,) checkpoints, strictly increasing: the first, and each other uniform within half the distance to its neighbours.

    Args:
        times: (sessions,) of learning, rising from 0 to 1.
    """
    centers = np.asarray(times, dtype=float) * (checkpoints - 1)
    gaps = np.diff(centers) if len(centers) > 1 else np.array([checkpoints - 1.0])
    before, after = np.append(gaps[:1], gaps), np.append(gaps, gaps[-1:])
    move = rng.uniform(-0.5, 0.5, len(centers))
    move[0] = 0
    return _placed(centers + move * np.where(move < 0, before[: len(move)], after[-len(move) :]), checkpoints)


def _placed(times: NDArray[np.float64], checkpoints: int) -> NDArray[np.intp]:
    """(sessions,) the checkpoints nearest to these times, moved as far as it takes to be as many."""
    # t strictly increases within [0, checkpoints) exactly if t − position never falls within [0, checkpoints − number]
    position = np.arange(len(times))
    free = np.maximum.accumulate(np.rint(times).astype(np.intp) - position)
    return np.clip(free, 0, checkpoints - len(times)) + position


def possible(name: str, checkpoints: int) -> Sampling:
    """The sampling of that name. Raises RequestError if there is none, or if it asks for more than there is."""
    sampling = Sampling.named(name)
    kind, number = sampling.kind, sampling.number
    low, high = {"only": (0, checkpoints - 1), "every": (1, max(checkpoints - 1, 1))}.get(kind, (1, checkpoints))
    if kind != ALL and not low <= number <= high:
        raise RequestError(
            f"sampling {name!r} asks for what is not there: of {checkpoints} checkpoints, "
            f"{kind}{low} to {kind}{high} can be taken"
        )
    return sampling


def apply(examples: Examples, name: str) -> Examples:
    """The examples as sessions at the checkpoints of a sampling see them: values and curves (examples, sessions, …).

    Raises:
        RequestError: not the name of a sampling, or more sessions than checkpoints.
    """
    checkpoints = examples.checkpoints
    sampling = possible(name, checkpoints)
    number = sampling.number
    match sampling.kind:
        case "all":
            return examples
        case "jittered":
            return _of_each_network(examples, sampling)
        case "sessions":
            seen = even(number, checkpoints)
        case "every":
            seen = np.arange(0, checkpoints, number)
        case "first":
            seen = np.arange(number)
        case "last":
            seen = np.arange(checkpoints - number, checkpoints)
        case _:
            seen = np.array([number])
    return replace(examples, values=examples.values[:, seen], curves=examples.curves[:, seen])


def measured(dataset: str | os.PathLike[str] | Examples, electrode: str | None = None, sampling: str = ALL) -> Examples:
    """What an experimenter has of a dataset: measured with an electrode, at the checkpoints of a sampling.

    Args:
        dataset: a dataset's path, or examples, which stay measured with the electrode that they were measured with.

    Raises:
        RequestError: as `trajectories.load` and `apply` do.
    """
    Sampling.named(sampling)
    return apply(dataset if isinstance(dataset, Examples) else load(dataset, electrode), sampling)


def _of_each_network(examples: Examples, sampling: Sampling) -> Examples:
    """Jittered checkpoints, the same for all layers of a network."""
    names, network = np.unique(examples.identity["network_id"].to_numpy(dtype=str), return_inverse=True)
    drawn = [jittered(sampling.number, examples.checkpoints, str(name), sampling.seed) for name in names]
    seen = np.array(drawn)[network][:, :, None]  # (examples, sessions, 1)
    values, curves = (np.take_along_axis(array, seen, axis=1) for array in (examples.values, examples.curves))
    return replace(examples, values=values, curves=curves)
