"""Which networks can learn in compiled code, and when it is worth while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from generator import rules
from generator.architectures.mlp import MLP
from generator.curricula.objectives import OBJECTIVES
from generator.curricula.supervised import Supervised
from generator.dataset.storage import Cohort
from generator.rules.pathways.alignment import InformationAlignment
from generator.rules.pathways.backprop import Backpropagation
from generator.rules.pathways.feedback import FeedbackAlignment
from generator.rules.updates.adam import Adam, AdamW
from generator.rules.updates.momentum import Momentum, Nesterov
from generator.rules.updates.rmsprop import RMSprop
from generator.rules.updates.sgd import SGD
from generator.rules.updates.sign import Lion, SignSGD
from generator.spec.network import NetworkSpec

# Exactly these: what derives from one of them may do more.
PATHWAYS = (Backpropagation, FeedbackAlignment, InformationAlignment)
UPDATES = (SGD, Momentum, Nesterov, Adam, AdamW, RMSprop, SignSGD, Lion)
NONLINEARITIES = ("relu", "linear", "leaky_relu", "tanh", "sigmoid", "elu")  # in the kernel's order
WORTH = 5e12  # floating-point operations: 70 s of one core, of which up to a third is saved, against 10 s to compile, per worker


def suits(network: NetworkSpec) -> bool:
    """Whether a network can learn in compiled code: fully connected layers in a chain, and a rule that is written there."""
    family, rule = network.family, network.rule
    return (
        family.build is MLP
        and family.options.get("norm", "none") == "none"
        and not family.options.get("residual", False)
        and network.nonlinearity in NONLINEARITIES
        and network.precision == "float32"
        and isinstance(OBJECTIVES[network.objective], Supervised)
        and rules.PATHWAYS[rule.pathway] in PATHWAYS
        and rules.UPDATES[rule.update] in UPDATES
    )


def chosen(cohorts: Sequence[tuple[Cohort, list[NetworkSpec]]]) -> list[tuple[Cohort, list[NetworkSpec]]]:
    """Cohorts that are to be recorded, marked as compiled if all together it is worth while.

    Their statistics are then computed in compiled code, and those learn in it that suit. So a short run does not wait for a
    compiler. It is asked once: what is recorded is trained in the same way ever after.
    """
    long = sum(member.flops for _, members in cohorts for member in members) >= WORTH
    return [(replace(cohort, compiled=True), members) for cohort, members in cohorts] if long else list(cohorts)
