"""From the values of a block's axes to a network, and which networks cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from generator.architectures import ARCHITECTURES, family
from generator.architectures.layers import NONLINEARITIES, PRECISIONS
from generator.architectures.network import STEMS, chained, measure
from generator.curricula import tasks
from generator.curricula.objectives import OBJECTIVES
from generator.curricula.pinned import shown
from generator.errors import Problems, RequestError, unknown
from generator.rules.schedules import SCHEDULES
from generator.spec.network import NetworkSpec, default_pixels

BYTES_PER_WEIGHT, MOST_BYTES = 16, 1 << 40  # weight, gradient and two moments; no machine has more
TOO_LARGE = "one such network does not fit into memory"
WORDS: dict[str, Collection[str]] = {
    "objective": OBJECTIVES,
    "nonlinearity": NONLINEARITIES,
    "schedule": SCHEDULES,
    "stem": STEMS,
    "precision": PRECISIONS,
}  # axes whose values are names, and the names that there are


class Impossible(RequestError):
    """A network that cannot be. `why` is the limit that it meets, in a few words; networks of a sample are drawn again."""

    def __init__(self, why: str, sentence: str) -> None:
        super().__init__(sentence)
        self.why = why


class Unfit(Impossible):
    """A network that can be, but that its rule cannot train. `why` is what the rule needs; in a sample the pair is left out."""


def check_words(axes: dict[str, Iterable[Any]], problems: Problems, where: str) -> None:
    """Keep a problem for every name that there is not. `axes` holds all values of each axis in `WORDS`."""
    for kind, known in WORDS.items():
        for name in axes[kind]:
            with problems:
                if name is not None and name not in known:
                    raise unknown(kind, name, known, where)


def build(root_seed: int, chosen: dict[str, Any]) -> NetworkSpec:
    """The network of one value of each axis; None is a default that depends on the others."""
    chosen = dict(chosen)
    if chosen["pixels"] is None:
        chosen["pixels"] = default_pixels(chosen["task"], chosen["architecture"])
    if chosen["weight_decay"] is None:
        chosen["weight_decay"] = family(chosen["architecture"]).weight_decay
    if chosen["stem"] is None or not family(chosen["architecture"]).stems:
        chosen["stem"] = family(chosen["architecture"]).default_stem(chosen["pixels"])
    data, chosen["task"] = chosen["task"], tasks.identity(chosen["task"])
    return NetworkSpec(root_seed=root_seed, source=data if data != chosen["task"] else "", **chosen)


def check(network: NetworkSpec, where: str, *, probe: int, checkpoints: int) -> None:
    """Raises Impossible for a network that cannot be trained and measured."""
    about, task = tasks.info(network.data), shown(network.data)
    if not about.sides and not network.pixels:
        raise Impossible(
            "no side length",
            f"{where}: task {task!r} comes at any size: say how many pixels, as in pixels = 224",
        )
    if about.sides and network.pixels not in about.sides:
        sides = " or ".join(filter(None, (", ".join(map(str, about.sides[:-1])), str(about.sides[-1]))))
        raise Impossible(
            "the task is not had at that side length",
            f"{where}: task {task!r} can be had at {sides} pixels, not at {network.pixels}",
        )
    if about.classes < 2:
        raise Impossible("one class", f"{where}: task {task!r} has one class: there is nothing to tell apart")
    if OBJECTIVES[network.objective].shown > 1 and min(network.batch_size, probe) < 2:
        raise Impossible(
            "too few stimuli to compare",
            f"{where}: objective {network.objective!r} compares stimuli: batch_size and probe must be 2 or more",
        )
    if network.batch_size > about.train:
        raise Impossible(
            "the batch is larger than the training part",
            f"{where}: batch_size {network.batch_size} is larger than task {task!r}, "
            f"which has {about.train} training stimuli",
        )
    if probe > about.test:
        raise Impossible(
            "the probe set is larger than the test part",
            f"probe = {probe}, but the test part of task {task!r} has {about.test} stimuli",
        )
    if network.steps >= 2**31:
        raise Impossible(
            "too many updates",
            f"{where}: {network.epochs} epochs make {network.steps} updates, more than can be counted",
        )
    if network.steps < checkpoints - 1:
        raise Impossible(
            "too few updates for the checkpoints",
            f"{where}: {network.epochs} epochs of {network.steps_per_epoch} batches make {network.steps} updates, too few "
            f"for {checkpoints} checkpoints; raise epochs or lower batch_size",
        )
    try:
        sizes = measure(network.family, network.input, network.form)
        if BYTES_PER_WEIGHT * sum(size.weights for size in sizes) > MOST_BYTES:
            raise RequestError(TOO_LARGE)
    except (
        RequestError,
        RuntimeError,
    ) as error:  # the latter is PyTorch's, which has no type for a lack of memory on a CPU
        found, why = str(error).partition("\n")[0], "the architecture does not take the input"
        if found == TOO_LARGE or "allocate memory" in found or "Storage size" in found:
            found = why = TOO_LARGE
        raise Impossible(why, f"{where}: {network.architecture} on {task} at {network.pixels} px: {found}") from error
    _check_rule(network, where)


def _check_rule(network: NetworkSpec, where: str) -> None:
    """Raises Unfit for a network that can be trained, but not by its rule."""
    rule, needs = f"{where}: rule {network.rule.label!r}", network.rule.needs
    if needs.labelled and not OBJECTIVES[network.objective].labelled:
        raise Unfit("needs labels", f"{rule} needs labels, but objective {network.objective!r} learns without any")
    if needs.dense and not chained(network.family, network.input, network.form):
        raise Unfit(
            "needs fully connected layers in a chain",
            f"{rule} trains fully connected layers in a chain, without convolutions, norms and links, which "
            f"{network.architecture} has; take an mlp without them",
        )
    if needs.nonlinearities and network.nonlinearity not in needs.nonlinearities:
        known = " or ".join(needs.nonlinearities)
        raise Unfit(f"needs {known}", f"{rule} needs the nonlinearity {known}, not {network.nonlinearity!r}")
    if needs.architectures and network.family.name not in needs.architectures:
        known = " or ".join(name for name, one in ARCHITECTURES.items() if one.name in needs.architectures)
        raise Unfit(f"needs {known}", f"{rule} needs the architecture {known}, not {network.architecture!r}")
    if (able := network.family.build.pathways) and network.rule.pathway not in able:
        raise Unfit(
            "the architecture is not for it",
            f"{rule} cannot train {network.architecture}; {', '.join(able[:-1])} and {able[-1]} can",
        )
