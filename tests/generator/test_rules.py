"""Every learning rule against float64 numpy, plain autograd and torch.optim.

A new pathway or update adds one row to the table below and gets all tests of this file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from oracles import FREE, asymmetric, gradients, member, parameters, plain, run, stack, state, weight_layers

from generator.architectures import ARCHITECTURES
from generator.architectures.layers import Pass
from generator.curricula.contract import Batch
from generator.rules import PATHWAYS, UPDATES, chosen
from generator.rules.contract import Pace
from generator.training.stack import Stack

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class PathwayCase:
    """What a pathway must do on an mlp3.

    Args:
        arrival: (own weights, forward weights, layer l from 0, errors δ by layer, error at the output) → the error at y_l.
        own: names of the pathway's own weights.
        moves: whether learning moves them.
    """

    arrival: Callable[[Arrays, Sequence[np.ndarray], int, Mapping[int, np.ndarray], np.ndarray], np.ndarray]
    own: frozenset[str] = frozenset()
    moves: bool = False


@dataclass(frozen=True)
class UpdateCase:
    """An update, written again: `numpy` yields w after each gradient, `optimizer` is PyTorch's own."""

    numpy: Callable[[np.ndarray, Sequence[np.ndarray], float], list[np.ndarray]]
    optimizer: Callable[[Any], torch.optim.Optimizer]


def _through_feedback(own: Arrays, w: Any, layer: int, delta: Any, e: Any) -> np.ndarray:
    return delta[layer + 1] @ own[f"fc{layer + 2}.feedback"]


def _momentum(w: np.ndarray, gradients: Sequence[np.ndarray], rate: float) -> list[np.ndarray]:
    v, path = np.zeros_like(w), []
    for g in gradients:
        v = 0.9 * v + g
        w = w - rate * v
        path.append(w)
    return path


def _adam(w: np.ndarray, gradients: Sequence[np.ndarray], rate: float) -> list[np.ndarray]:
    m, v, path = np.zeros_like(w), np.zeros_like(w), []
    for t, g in enumerate(gradients, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        path.append(w)
    return path


LAYERED = frozenset({"fc2.feedback", "fc3.feedback"})
PATHWAY_CASES = {
    "bp": PathwayCase(lambda own, w, layer, delta, e: delta[layer + 1] @ w[layer + 1]),
    "fa": PathwayCase(_through_feedback, LAYERED),
    "ia": PathwayCase(_through_feedback, LAYERED, moves=True),
    "dfa": PathwayCase(
        lambda own, w, layer, delta, e: e @ own[f"fc{layer + 1}.direct_feedback"].T,
        frozenset({"fc1.direct_feedback", "fc2.direct_feedback"}),
    ),
}
UPDATE_CASES = {
    "momentum": UpdateCase(_momentum, lambda groups: torch.optim.SGD(groups, momentum=0.9)),
    "adam": UpdateCase(_adam, lambda groups: torch.optim.Adam(groups, betas=(0.9, 0.999), eps=1e-8)),
}
RULES = [f"{p}+{u}" for p, u in itertools.product(PATHWAYS, UPDATES)]

every_pathway = pytest.mark.parametrize("pathway", PATHWAYS)
every_rule = pytest.mark.parametrize("rule", RULES)
every_update = pytest.mark.parametrize("update", UPDATES)
every_architecture = pytest.mark.parametrize("architecture", [*ARCHITECTURES, *FREE])


def test_every_registered_pathway_and_update_has_its_row() -> None:
    assert PATHWAY_CASES.keys() == PATHWAYS.keys()
    assert UPDATE_CASES.keys() == UPDATES.keys()


def learn(built: Stack, step: int = 0) -> list[np.ndarray]:
    """The gradients a stack's pathway makes of one batch."""
    return [g.numpy() for g in built.pathway.learn(built.batch(step), built.objective, built.pace(0)).gradients]


def weight_gradients(built: Stack, found: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Those of the weight layers' weights, in order."""
    places = {id(tensor): i for i, tensor in enumerate(built.parameters)}
    return [found[places[id(layer.weight)]] for layer in built.network.layers]


# -- pathways ----------------------------------------------------------------------------------------------------------
@every_pathway
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
def test_gradients_of_an_mlp3_equal_numpy(pathway: str, nonlinearity: str) -> None:
    members = [member(f"{pathway}+momentum", nonlinearity=nonlinearity, model_seed=s, data_seed=s) for s in (0, 1)]
    built = stack(*members)
    for i in range(2):
        built = stack(*members)
        before, batch = state(built, i), built.batch(0)
        found = [g[i] for g in learn(built)]
        own = state(built, i) | before  # as they were when the error came down; drawn on first use in dfa
        w, b = ([before[f"{part}{layer}"] for layer in range(3)] for part in ("weight", "bias"))
        x, labels = batch.x[i].flatten(1).numpy(), batch.y[i].numpy()
        expected = _numpy_mlp3(PATHWAY_CASES[pathway], own, w, b, x, labels, nonlinearity)
        for actual, answer in zip(found, expected, strict=True):
            np.testing.assert_allclose(actual, answer, rtol=1e-9, atol=1e-14)


def _numpy_mlp3(case: PathwayCase, own: Arrays, w: Any, b: Any, x: Any, labels: Any, phi: str) -> list[np.ndarray]:
    function = {"relu": lambda a: np.maximum(a, 0), "tanh": np.tanh}[phi]
    slope = {"relu": lambda a: (a > 0) * 1.0, "tanh": lambda a: 1 / np.cosh(a) ** 2}[phi]
    a1 = x @ w[0].T + b[0]
    a2 = function(a1) @ w[1].T + b[1]
    logits = function(a2) @ w[2].T + b[2]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = (p - np.eye(p.shape[1])[labels]) / len(x)
    delta = {2: error}
    delta[1] = case.arrival(own, w, 1, delta, error) * slope(a2)
    delta[0] = case.arrival(own, w, 0, delta, error) * slope(a1)
    inputs = [x, function(a1), function(a2)]
    return [part for layer in range(3) for part in (delta[layer].T @ inputs[layer], delta[layer].sum(0))]


@every_pathway
@every_architecture
def test_the_top_layer_learns_as_in_backpropagation_and_only_bp_does_below(pathway: str, architecture: str) -> None:
    built = stack(member(f"{pathway}+momentum", architecture))
    found = weight_gradients(built, learn(built))
    expected = weight_gradients(built, gradients(plain(built), built.batch(0)))
    np.testing.assert_allclose(found[-1][0], expected[-1], rtol=1e-9, atol=1e-13)
    for actual, answer in zip(found[:-1], expected[:-1], strict=True):
        distance = np.linalg.norm(actual[0] - answer) / np.linalg.norm(answer)
        assert distance < 1e-10 if pathway == "bp" else distance > 0.1


@every_architecture
@pytest.mark.parametrize("pathway", ["fa", "ia"])
def test_feedback_equal_to_the_weights_gives_autograds_gradients(pathway: str, architecture: str) -> None:
    built = stack(
        member(f"{pathway}+momentum", architecture), member(f"{pathway}+momentum", architecture, model_seed=1)
    )
    for layer in built.network.layers[1:]:
        layer.feedback.copy_(layer.weight.detach())
    found = learn(built)
    for i in range(2):
        for actual, answer in zip(found, gradients(plain(built, i), built.batch(0), i), strict=True):
            np.testing.assert_allclose(actual[i], answer, rtol=1e-9, atol=1e-13)


@every_architecture
def test_random_feedback_carries_the_error_in_place_of_the_weights(architecture: str) -> None:
    built = stack(member("fa", architecture))
    matrices = {i: layer.feedback[0].clone() for i, layer in enumerate(built.network.layers) if i > 0}
    expected = gradients(asymmetric(plain(built), matrices), built.batch(0))
    for actual, answer in zip(learn(built), expected, strict=True):
        np.testing.assert_allclose(actual[0], answer, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("architecture", [name for name in [*ARCHITECTURES, *FREE] if name not in ("mlp2", "mlp3")])
def test_direct_feedback_reaches_the_blocks_between_weight_layers(architecture: str) -> None:
    built = stack(member("dfa", architecture))
    found, batch, model = learn(built), built.batch(0), plain(built)
    own, tops = built.pathway.tensors(), []
    for module in weight_layers(model):  # cut the graph before each
        module.register_forward_pre_hook(lambda module, inputs: tops.append(inputs[0]) or (inputs[0].detach(),))
    logits = run(model, batch)
    loss = torch.nn.functional.cross_entropy(logits, batch.y[0])
    (error,) = torch.autograd.grad(loss, logits, retain_graph=True)
    names = iter(own)
    for before, top in itertools.pairwise(tops):
        if top is not before:  # a shortcut and the convolution beside it read one tensor
            loss = loss + (top * (error @ own[next(names)][0].T).reshape(top.shape)).sum()
    assert next(names, None) is None
    for actual, answer in zip(found, torch.autograd.grad(loss, parameters(model)), strict=True):
        np.testing.assert_allclose(actual[0], answer.numpy(), rtol=1e-9, atol=1e-13)


@every_pathway
def test_a_pathway_owns_exactly_the_weights_its_row_names(pathway: str) -> None:
    built = stack(member(f"{pathway}+momentum"))
    learn(built)
    assert built.pathway.tensors().keys() == PATHWAY_CASES[pathway].own


@every_pathway
def test_no_feedback_leaves_the_first_layer(pathway: str) -> None:
    assert stack(member(f"{pathway}+momentum")).network.layers[0].feedback is None


@every_rule
def test_own_weights_move_only_where_the_row_says_so(rule: str) -> None:
    built, case = stack(member(rule)), PATHWAY_CASES[rule.split("+")[0]]
    built.step(built.batch(0))
    before = state(built, 0)
    built.step(built.batch(1))
    assert all(np.array_equal(before[name], state(built, 0)[name]) != case.moves for name in case.own)


@pytest.mark.parametrize("pathway", ["fa", "ia"])
def test_feedback_is_drawn_like_the_weights_on_a_stream_of_its_own(pathway: str) -> None:
    built = stack(member(f"{pathway}+momentum", "knet4"))
    for layer in built.network.layers[1:]:
        w, b = layer.weight.detach().flatten().numpy(), layer.feedback.flatten().numpy()
        assert b.std() == pytest.approx(w.std(), rel=8 / np.sqrt(len(b)))
        assert abs(np.corrcoef(w, b)[0, 1]) < 5 / np.sqrt(len(b))


@every_rule
@every_architecture
def test_networks_that_differ_only_in_rule_start_equal_and_see_equal_batches(rule: str, architecture: str) -> None:
    built, reference = stack(member(rule, architecture)), stack(member("sgdm", architecture))
    for ours, theirs in zip(built.parameters, reference.parameters, strict=True):
        assert torch.equal(ours, theirs)
    for step in (0, 1, built.first.steps_per_epoch):
        assert all(torch.equal(a, b) for a, b in zip(built.batch(step)[:3], reference.batch(step)[:3], strict=True))


def test_seeds_change_what_is_keyed_by_them_and_nothing_else() -> None:
    base, model, data = (stack(member("fa", **seed)) for seed in ({}, {"model_seed": 1}, {"data_seed": 1}))
    same = {
        name: np.array_equal(value, state(model, 0)[name])
        for name, value in state(base, 0).items()
        if "bias" not in name
    }
    assert not any(same.values())
    assert all(np.array_equal(value, state(data, 0)[name]) for name, value in state(base, 0).items())
    assert torch.equal(base.batch(0).x, model.batch(0).x)
    assert not torch.equal(base.batch(0).x, data.batch(0).x)


def test_an_epoch_shows_every_training_stimulus_at_most_once_and_the_next_in_another_order() -> None:
    built = stack(member(batch_size=200))
    epochs = [torch.cat([built.batch(7 * epoch + step).x[0] for step in range(7)]).flatten(1) for epoch in (0, 1)]
    known = {row.numpy().tobytes() for row in torch.from_numpy(built.task.train.images).double().flatten(1)}
    for shown in epochs:
        assert {row.numpy().tobytes() for row in shown} == known
    assert not torch.equal(*epochs)


@every_rule
def test_the_loss_reported_is_the_cross_entropy_before_the_step(rule: str) -> None:
    built = stack(member(rule), member(rule, model_seed=1))
    batch = built.batch(0)
    expected = [torch.nn.functional.cross_entropy(run(plain(built, i), batch, i), batch.y[i]).item() for i in range(2)]
    np.testing.assert_allclose(built.step(batch).numpy(), expected, rtol=1e-12)


@every_rule
def test_a_rule_learns_a_batch_by_heart(rule: str) -> None:
    built = stack(member(rule, "mlp2", batch_size=32))
    losses = [float(built.step(built.batch(0))) for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


@every_rule
def test_a_name_and_a_label_mean_the_same_rule(rule: str) -> None:
    assert chosen(chosen(rule, "").label, "") == chosen(rule, "")


@every_rule
def test_every_parameter_of_a_rule_takes_effect(rule: str) -> None:
    def trained(entry: Any) -> dict[str, np.ndarray]:
        built = stack(member(entry))
        for step in range(3):
            built.step(built.batch(step))
        return state(built, 0)

    default = trained(rule)
    for name, value in chosen(rule, "").parameters.items():
        other = trained({"name": rule, name: 0.5 * value if value < 1e-6 or value >= 0.5 else 3 * value + 0.01})
        assert any(not np.array_equal(default[key], other[key]) for key in default), name


def test_momentum_zero_is_plain_gradient_descent() -> None:
    built = stack(member({"name": "sgdm", "momentum": 0}))
    model = plain(built)
    for step in range(3):
        expected = gradients(model, built.batch(step))
        with torch.no_grad():
            for p, g in zip(parameters(model), expected, strict=True):
                p.sub_(torch.from_numpy(g), alpha=built.first.rate)
        built.step(built.batch(step))
    for ours, theirs in zip(built.parameters, parameters(model), strict=True):
        np.testing.assert_allclose(ours[0].detach(), theirs.detach(), rtol=1e-9, atol=1e-14)


# -- updates -----------------------------------------------------------------------------------------------------------
@every_update
def test_an_update_equals_numpy_and_torch_optim(update: str) -> None:
    rng = np.random.default_rng(0)
    rates, case = [1e-3, 0.03, 1.0], UPDATE_CASES[update]
    start = [rng.normal(size=(3, *shape)) for shape in ((4, 5), (6,))]
    steps = [[rng.normal(size=w.shape) * 10.0 ** rng.integers(-4, 4) for w in start] for _ in range(8)]
    tensors = [torch.from_numpy(w.copy()) for w in start]
    built = UPDATES[update](tensors, **UPDATES[update].defaults)
    answers = [
        [case.numpy(w[i], [g[j][i] for g in steps], rate) for i, rate in enumerate(rates)] for j, w in enumerate(start)
    ]
    theirs = [[torch.nn.Parameter(torch.from_numpy(w[i].copy())) for w in start] for i in range(3)]
    optimizers = [case.optimizer([{"params": p, "lr": rate}]) for p, rate in zip(theirs, rates, strict=True)]
    for step, grads in enumerate(steps):
        built.step(tensors, [torch.from_numpy(g.copy()) for g in grads], torch.tensor(rates, dtype=torch.float64))
        for i in range(3):
            for p, g in zip(theirs[i], grads, strict=True):
                p.grad = torch.from_numpy(g[i].copy())
            optimizers[i].step()
            for j in range(2):
                np.testing.assert_allclose(tensors[j][i], answers[j][i][step], rtol=1e-10, atol=1e-14)
                np.testing.assert_allclose(tensors[j][i], theirs[i][j].detach(), rtol=1e-10, atol=1e-14)


@every_update
@pytest.mark.parametrize("architecture", ["mlp3", "knet4"])
def test_five_steps_of_backpropagation_equal_a_plain_training_loop(update: str, architecture: str) -> None:
    settings = [{"learning_rate": 0.5, "weight_decay": 0.01}, {"learning_rate": 4.0, "model_seed": 1, "data_seed": 2}]
    built = stack(*(member(f"bp+{update}", architecture, **each) for each in settings))
    built.settle()
    models = [plain(built, i) for i in range(2)]
    batches = [built.batch(step) for step in range(5)]
    losses = np.array([built.step(batch).numpy() for batch in batches])
    for i, (model, one) in enumerate(zip(models, built.members, strict=True)):
        weights = [layer.weight for layer in weight_layers(model)]
        rest = [p for p in parameters(model) if all(p is not w for w in weights)]
        groups = [{"params": weights, "weight_decay": one.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        optimizer = UPDATE_CASES[update].optimizer([group | {"lr": one.rate} for group in groups])
        for step, batch in enumerate(batches):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(run(model, batch, i), batch.y[i])
            loss.backward()
            optimizer.step()
            assert loss.item() == pytest.approx(losses[step, i], rel=1e-9)
        for ours, theirs in zip(built.parameters, parameters(model), strict=True):
            np.testing.assert_allclose(ours[i].detach(), theirs.detach(), rtol=1e-9, atol=1e-9)
        inputs = batches[0].x[i]
        evaluated = built.network.forward(inputs.expand(2, *inputs.shape), Pass())[i].detach()
        np.testing.assert_allclose(evaluated, model.eval()(inputs).detach(), rtol=1e-8, atol=1e-8)


@every_rule
@pytest.mark.parametrize("architecture", ["mlp3", "knet4"])
def test_the_l2_penalty_pulls_on_weights_only(rule: str, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(decay: float) -> tuple[Stack, list[torch.Tensor]]:
        built, seen = stack(member(rule, architecture, weight_decay=decay)), []
        monkeypatch.setattr(built.update, "step", lambda tensors, grads, rate: seen.extend(g.clone() for g in grads))
        built.step(built.batch(0))
        return built, seen

    (built, free), (_, decayed) = moved(0.0), moved(0.1)
    weights = {id(layer.weight) for layer in built.network.layers}
    for p, without, with_decay in zip(built.parameters, free, decayed, strict=True):
        pull = 0.1 * p.detach() if id(p) in weights else torch.zeros_like(p)
        np.testing.assert_allclose(with_decay - without, pull, rtol=1e-9, atol=1e-13)


def test_a_pathway_is_told_how_fast_the_weights_move() -> None:
    """The rate as the schedule has it at that update, which the update is given, too; and every layer's decay."""
    members = [
        member("fa", learning_rate=r, weight_decay=d, schedule="warmup-steps") for r, d in ((0.5, 0.0), (2.0, 0.1))
    ]
    built, seen = stack(*members), []
    learn, move = built.pathway.learn, built.update.step

    def told(batch: Batch, objective: Any, pace: Pace) -> Any:
        seen.append(pace)
        return learn(batch, objective, pace)

    def moved(tensors: Any, gradients: Any, rate: torch.Tensor) -> None:
        assert torch.equal(rate, seen[-1].rate)
        move(tensors, gradients, rate)

    built.pathway.learn, built.update.step = told, moved  # type: ignore[method-assign]
    for step in (0, 3, 200):
        built.step(built.batch(step))
        expected = [one.rate * one.rate_factor(step) for one in members]
        np.testing.assert_allclose(seen[-1].rate.numpy(), expected, rtol=1e-12)
        assert list(seen[-1].decay) == [layer.name for layer in built.network.layers]
        assert all(decay.tolist() == [0.0, 0.1] for decay in seen[-1].decay.values())
    assert len({float(pace.rate[0]) for pace in seen}) == 3
