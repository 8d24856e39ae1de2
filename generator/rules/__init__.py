"""The registry of learning rules: pathway (how the error reaches a layer) × update (how the weights move).

A new pathway or update is one file in `pathways` or `updates` and one line below; every combination then has a name,
`pathway+update`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from generator import plugins
from generator.errors import RequestError, unknown
from generator.rules.contract import Pathway, Update
from generator.rules.pathways.alignment import (
    ActivationAlignment,
    InformationAlignment,
    SymmetricAlignment,
    WeightMirror,
)
from generator.rules.pathways.backprop import Backpropagation
from generator.rules.pathways.burst import Burst
from generator.rules.pathways.competitive import KrotovHopfield, SimilarityMatching, SoftHebb
from generator.rules.pathways.contrast import ContrastiveHebbian, EquilibriumPropagation
from generator.rules.pathways.direct import DirectFeedbackAlignment, DirectRandomTargetProjection
from generator.rules.pathways.dual_propagation import DualPropagation
from generator.rules.pathways.feedback import FeedbackAlignment, KolenPollack
from generator.rules.pathways.forward_forward import ForwardForward
from generator.rules.pathways.gevb import GlobalErrorVector
from generator.rules.pathways.hebbian import BCM, Hebb, Oja
from generator.rules.pathways.latent_predictive import LatentPredictive
from generator.rules.pathways.local_loss import LocalLoss
from generator.rules.pathways.nulls import NoLearning, RandomWalk, ReadOutOnly
from generator.rules.pathways.pepita import Pepita
from generator.rules.pathways.perturbation import ForwardGradient, NodePerturbation, WeightPerturbation
from generator.rules.pathways.predictive_coding import IncrementalPredictiveCoding, PredictiveCoding
from generator.rules.pathways.reward import BrainProp, Reinforce
from generator.rules.pathways.sign_symmetry import BatchwiseSign, FixedSign, UniformSign
from generator.rules.pathways.targets import DirectTargetPropagation, LocalTargetPropagation, TargetPropagation
from generator.rules.updates.adam import Adam, AdamW
from generator.rules.updates.mirror import ExponentiatedGradient, PNorm
from generator.rules.updates.momentum import Momentum, Nesterov
from generator.rules.updates.muon import Muon
from generator.rules.updates.rmsprop import RMSprop
from generator.rules.updates.sgd import SGD
from generator.rules.updates.sign import Lion, SignSGD
from generator.toml import single

PATHWAYS: dict[str, type[Pathway]] = {
    "bp": Backpropagation,
    "fa": FeedbackAlignment,
    "ia": InformationAlignment,
    "dfa": DirectFeedbackAlignment,
    "drtp": DirectRandomTargetProjection,
    "gevb": GlobalErrorVector,
    "kolen_pollack": KolenPollack,
    "weight_mirror": WeightMirror,
    "symmetric_alignment": SymmetricAlignment,
    "activation_alignment": ActivationAlignment,
    "uniform_sign": UniformSign,
    "batchwise_sign": BatchwiseSign,
    "fixed_sign": FixedSign,
    "burst": Burst,
    "target_prop": TargetPropagation,
    "direct_target_prop": DirectTargetPropagation,
    "local_target_prop": LocalTargetPropagation,
    "predictive_coding": PredictiveCoding,
    "incremental_predictive_coding": IncrementalPredictiveCoding,
    "equilibrium_propagation": EquilibriumPropagation,
    "contrastive_hebbian": ContrastiveHebbian,
    "dual_propagation": DualPropagation,
    "weight_perturbation": WeightPerturbation,
    "forward_gradient": ForwardGradient,
    "node_perturbation": NodePerturbation,
    "reinforce": Reinforce,
    "brain_prop": BrainProp,
    "local_loss": LocalLoss,
    "forward_forward": ForwardForward,
    "pepita": Pepita,
    "hebb": Hebb,
    "oja": Oja,
    "bcm": BCM,
    "krotov_hopfield": KrotovHopfield,
    "soft_hebb": SoftHebb,
    "similarity_matching": SimilarityMatching,
    "latent_predictive": LatentPredictive,
    "none": NoLearning,
    "read_out_only": ReadOutOnly,
    "random_walk": RandomWalk,
}
UPDATES: dict[str, type[Update]] = {
    "momentum": Momentum,
    "adam": Adam,
    "sgd": SGD,
    "nesterov": Nesterov,
    "rmsprop": RMSprop,
    "adamw": AdamW,
    "sign_sgd": SignSGD,
    "lion": Lion,
    "muon": Muon,
    "exponentiated_gradient": ExponentiatedGradient,
    "p_norm": PNorm,
}
# The paper calls backpropagation with momentum sgdm. Else a pathway alone has momentum, and an update alone backpropagation.
ALIASES = {"sgdm": "bp+momentum", "adam": "bp+adam"} | {name: f"{name}+momentum" for name in PATHWAYS if name != "bp"}
ALIASES |= {name: f"bp+{name}" for name in UPDATES if name != "momentum"}


@dataclass(frozen=True)
class Rule:
    """A learning rule: pathway, update, and the parameters that differ from their defaults."""

    pathway: str
    update: str
    overrides: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its one canonical name: the alias if there is one, else pathway+update."""
        name = f"{self.pathway}+{self.update}"
        return next((alias for alias, meaning in ALIASES.items() if meaning == name), name)

    @property
    def parameters(self) -> dict[str, float]:
        """All parameters of pathway and update, defaults filled in."""
        return {**PATHWAYS[self.pathway].defaults, **UPDATES[self.update].defaults, **self.overrides}

    @property
    def base_rate(self) -> float:
        """The base learning rate, which the spec's `learning_rate` multiplies."""
        update = UPDATES[self.update]
        return update.base_rate * (PATHWAYS[self.pathway].relative_rate if update.proportional else 1.0)

    @property
    def company(self) -> tuple[Any, ...]:
        """Networks of equal shape can be one stack if their rules have equal company: one rule, or several that share a pass."""
        shares = vars(PATHWAYS[self.pathway]).get("shared_pass", False) and not UPDATES[self.update].decoupled
        if shares and not plugins.origin(
            "UPDATES", self.update
        ):  # somebody else's may keep more than the contract says
            return ("shared",)
        return (self.label, *sorted(self.parameters.items()))

    @property
    def needs(self) -> type[Pathway]:
        """What says which networks it can train: `labelled`, `dense`, `nonlinearities` and `architectures` of its pathway."""
        return PATHWAYS[self.pathway]

    def build_pathway(self, network: Any, draw: Any) -> Pathway:
        """The pathway, set up on a stack."""
        known = PATHWAYS[self.pathway].defaults
        return PATHWAYS[self.pathway](network, draw, **{n: v for n, v in self.parameters.items() if n in known})

    def build_update(self, tensors: Any) -> Update:
        """The update, with its state for these tensors."""
        known = UPDATES[self.update].defaults
        return UPDATES[self.update](tensors, **{n: v for n, v in self.parameters.items() if n in known})


def chosen(entry: str | Mapping[str, Any], where: str) -> Rule:
    """Read a spec's rule: a name, or a table {name = "ia", beta = 0.1} that overrides parameters.

    Raises:
        RequestError: unknown rule or parameter; the sentence lists the known ones.
    """
    if isinstance(entry, str):
        entry = {"name": entry}
    overrides = dict(entry)
    if not isinstance(name := overrides.pop("name", None), str):
        raise RequestError(
            f'a rule{where and f" in {where}"} is a name or a table with one, such as {{name = "ia", beta = 0.1}}'
        )
    pathway, plus, update = ALIASES.get(name, name).partition("+")
    if not plus:
        raise unknown("rule", name, ALIASES, where)
    for kind, part, known in (("pathway", pathway, PATHWAYS), ("update", update, UPDATES)):
        if part not in known:
            raise unknown(f"{kind} of rule {name!r}:", part, known, where)
    rule = Rule(pathway, update)
    for parameter, value in overrides.items():
        if parameter not in rule.parameters:
            raise unknown(f"parameter of rule {name}:", parameter, rule.parameters, where)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RequestError(f"parameter {parameter!r} of rule {name!r}{where and f' in {where}'} must be a number")
        try:
            single(value)
        except ValueError as error:
            raise RequestError(f"parameter {parameter!r} of rule {name!r}{where and f' in {where}'} {error}") from error
        low, high = (PATHWAYS[pathway].bounds | UPDATES[update].bounds).get(parameter, (0, math.inf))
        if not low <= value < high:
            raise RequestError(
                f"parameter {parameter!r} of rule {name!r}{where and f' in {where}'} "
                f"must be at least {low:g} and below {high:g}, not {value}"
            )
    kept = {n: float(v) for n, v in sorted(overrides.items()) if v != rule.parameters[n]}
    return Rule(pathway, update, kept)


def _taking(kind: str, known: dict[str, Any], base: type, alias: Callable[[str], str]) -> None:
    """Let plugins add to a registry."""

    def take(name: str, thing: Any) -> None:
        if name in ALIASES:
            raise RequestError(f"{name!r} is a name that Rulescope has already: choose another one")
        plugins.add(
            known, name, thing, isinstance(thing, type) and issubclass(thing, base), f"a subclass of {base.__name__}"
        )
        ALIASES[name] = alias(name)

    plugins.taken_by(kind, take)


_taking("PATHWAYS", PATHWAYS, Pathway, lambda name: f"{name}+momentum")
_taking("UPDATES", UPDATES, Update, lambda name: f"bp+{name}")


def declared() -> list[dict[str, Any]]:
    """Every pathway and update, with what it says of itself. `flops` are relative to backpropagation with `sgd`."""
    axes: dict[str, Mapping[str, Any]] = {"pathway": PATHWAYS, "update": UPDATES}
    return [
        {"name": name, "axis": axis, "family": one.family, "local": one.local, "flops": str(one.flops)}
        | {"labels": getattr(one, "labelled", False), "dense": getattr(one, "dense", False)}
        | {name: list(getattr(one, name, ())) for name in ("nonlinearities", "architectures")}
        | {"parameters": dict(one.defaults)}
        | {"source": one.source, "meaning": " ".join((one.__doc__ or "").split()).partition(". ")[0].removesuffix(".")}
        for axis, known in axes.items()
        for name, one in known.items()
    ]
