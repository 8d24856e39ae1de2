"""Networks of several rules in one stack: what each learns, and which are joined."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from oracles import member, suits

from generator.architectures.layers import Draw
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules import PATHWAYS, UPDATES, chosen
from generator.rules.contract import Lesson, Pace
from generator.rules.pathways.feedback import FeedbackAlignment
from generator.spec import planning
from generator.spec.network import NetworkSpec
from generator.training import loop
from generator.training.stack import Stack

RULES = ("sgdm", "adam", "fa", "fa+rmsprop", "nesterov", "p_norm", "exponentiated_gradient", "sign_sgd", "sgd")
JOINED = {"bp", "fa"}  # pathways


def two_each(rules: tuple[str, ...] = RULES, **options: Any) -> list[NetworkSpec]:
    return [member(rule, model_seed=seed, **options) for rule in rules for seed in range(2)]


def lived(members: list[NetworkSpec], steps: int = 5) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    """Statistics (k, …) at a last checkpoint, and the snapshots of all."""
    built = Stack(members)
    built.settle()
    for step in range(steps):
        built.step(built.batch(step))
    *_, statistics, snapshots = loop.observe(built, built.probe(16), range(len(members)))
    return statistics.numpy(), [snapshots[i] for i in range(len(members))]


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "mlp3", "weight_decay": 0.01},
        {"architecture": "mlp(depth=3,norm=batch)", "nonlinearity": "gelu"},
        {"architecture": "convnet(channels=6,depth=3,norm=layer)"},
        {"architecture": "vnn3", "width": 0.25, "learning_rate": 4.0},
    ],
    ids=lambda options: options["architecture"],
)
def test_every_network_learns_as_among_its_own_bit_for_bit(options: dict[str, Any]) -> None:
    rules = tuple(rule for rule in RULES if suits(chosen(rule, "").pathway, options["architecture"]))
    together, alone = two_each(rules, **options), [lived(two_each((rule,), **options)) for rule in rules]
    statistics, snapshots = lived(together)
    np.testing.assert_array_equal(statistics, np.concatenate([one[0] for one in alone]))
    for found, expected in zip(snapshots, [each for one in alone for each in one[1]], strict=True):
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            np.testing.assert_array_equal(found[name], tensor, err_msg=name)


def test_a_joined_stack_goes_on_from_its_state() -> None:
    through, left, found = (Stack(two_each()) for _ in range(3))
    for step in range(4):
        through.step(through.batch(step))
    for step in range(2):
        left.step(left.batch(step))
    found.restore(left.state())
    for step in range(2, 4):
        found.step(found.batch(step))
    ours, theirs = found.state(), through.state()
    assert ours.keys() == theirs.keys()
    assert any(name.startswith("stack.update.updates.1") for name in ours)
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_only_rules_that_share_a_pass_are_joined() -> None:
    for pathway in PATHWAYS:
        for update, kind in UPDATES.items():
            shared = chosen(f"{pathway}+{update}", "").company == chosen("sgdm", "").company
            assert shared == (pathway in JOINED and not kind.decoupled), (pathway, update)
    assert chosen("kolen_pollack", "").company != chosen("weight_mirror", "").company
    assert chosen({"name": "ia", "beta": 2.0}, "").company != chosen("ia", "").company
    assert member("sgdm").stack_key == member("fa").stack_key != member("fa", batch_size=7).stack_key
    with pytest.raises(ValueError, match="must agree"):
        Stack([member("sgdm"), member("ia")])


def test_what_derives_from_a_rule_that_shares_its_pass_does_not(registries: Any) -> None:
    class Doubled(FeedbackAlignment):
        """Twice the gradient."""

        def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
            lesson = super().learn(batch, objective, pace)
            return lesson._replace(gradients=[2 * g for g in lesson.gradients])

    PATHWAYS["doubled"] = Doubled
    assert chosen("doubled+momentum", "").company != chosen("fa", "").company


def test_a_layer_without_feedback_of_its_own_follows_its_weights(registries: Any) -> None:
    class Half(FeedbackAlignment):
        """Feedback of its own for the last layer alone."""

        shared_pass = True

        def __init__(self, network: Network, draw: Draw) -> None:
            super().__init__(network, draw)
            network.layers[1].feedback = None

    PATHWAYS["half"] = Half
    alone, joined = lived(two_each(("half+momentum",))), lived(two_each(("fa", "half+momentum")))
    np.testing.assert_array_equal(joined[0][2:], alone[0])
    assert [set(one) for one in joined[1][2:]] == [set(one) for one in alone[1]]
    assert "fc2.feedback" in joined[1][0].keys() - joined[1][2].keys()


def cohorts(networks: list[NetworkSpec], sampled: bool = True) -> list[tuple[str, list[str]]]:
    found = planning.form_cohorts([replace(network, sampled=sampled) for network in networks])
    return [(cohort.name, [member.rule.label for member in members]) for cohort, members in found]


def test_rules_are_joined_where_their_own_networks_do_not_fill_a_stack() -> None:
    most = planning.stack_size(member(), "cpu", 256)
    few = two_each(("sgdm", "ia", "adam", "fa"))
    (first, joined), (_, others) = cohorts(few)
    assert joined == ["sgdm"] * 2 + ["adam"] * 2 + ["fa"] * 2
    assert first.startswith("sgdm_adam_fa-mlp3-digits-")
    assert others == ["ia"] * 2
    assert [rules for _, rules in cohorts(few, sampled=False)] == [[rule] * 2 for rule in ("sgdm", "ia", "adam", "fa")]
    full = [replace(member(rule), model_seed=seed) for rule in ("sgdm", "adam") for seed in range(most)]
    assert [rules for _, rules in cohorts(full)] == [["sgdm"] * most, ["adam"] * most]
    halves = [each for each in full if each.rule.label == "sgdm" or each.model_seed < most // 2]
    assert [rules for _, rules in cohorts(halves)] == [["sgdm"] * most, ["adam"] * (most // 2)]
    many = [replace(each, data_seed=seed) for each in few if each.rule.label != "ia" for seed in range(most // 2 - 1)]
    assert {len(rules) for _, rules in cohorts(many)} == {len(many) // -(-len(many) // most)}


def test_weights_that_others_follow_are_their_own_in_the_backward_pass() -> None:
    """M is W of the moment for backpropagation, and stays what it was drawn as for feedback alignment."""
    built = Stack(two_each(("sgdm", "fa")))
    layer = built.network.layers[1]
    assert layer.feedback is not None
    drawn = layer.feedback[2:].clone()
    for step in range(3):
        before = layer.weight.detach().clone()
        built.step(built.batch(step))
        torch.testing.assert_close(layer.feedback[:2], before[:2], rtol=0, atol=0)
    torch.testing.assert_close(layer.feedback[2:], drawn, rtol=0, atol=0)
    assert built.network.layers[0].feedback is None
