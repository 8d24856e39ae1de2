"""Every learning rule against float64 numpy, plain autograd and torch.optim.

A new pathway or update is defined again in `numpy_rules.py`, which gets it all tests here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy_rules
import pytest
import torch
from numpy_rules import CASES
from oracles import (
    CHAINS,
    FREE,
    PAIRS,
    RULES,
    USUAL,
    WITH_MOMENTUM,
    asymmetric,
    gradients,
    member,
    parameters,
    plain,
    run,
    stack,
    state,
    suits,
    weight_layers,
)

from generator import counters
from generator.architectures.layers import Pass
from generator.architectures.network import chained
from generator.curricula.contract import Batch
from generator.rules import PATHWAYS, UPDATES, chosen
from generator.rules.contract import Pace
from generator.spec.building import Unfit, check
from generator.training.stack import Stack

# PyTorch's own, where it has one; its muon takes a single matrix, in bfloat16.
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "momentum": lambda groups: torch.optim.SGD(groups, momentum=0.9),
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "nesterov": lambda groups: torch.optim.SGD(groups, momentum=0.9, nesterov=True),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, alpha=0.9),
    "adamw": torch.optim.AdamW,
}

every_pathway = pytest.mark.parametrize("pathway", PATHWAYS)
every_rule = pytest.mark.parametrize("rule", RULES)
every_update = pytest.mark.parametrize("update", UPDATES)
every_architecture = pytest.mark.parametrize("architecture", [*USUAL, *FREE])


def test_every_registered_pathway_and_update_has_its_row() -> None:
    assert CASES.keys() == PATHWAYS.keys()
    assert numpy_rules.UPDATES.keys() == UPDATES.keys()


@pytest.mark.parametrize("one", [*PATHWAYS.values(), *UPDATES.values()])
def test_every_rule_declares_what_it_is(one: Any) -> None:
    assert all(isinstance(said, str) and said for said in (one.family, one.source))
    assert isinstance(one.local, bool)
    assert one.__doc__


def learn(built: Stack, step: int = 0) -> list[np.ndarray]:
    """The gradients a stack's pathway makes of one batch."""
    return [g.numpy() for g in built.pathway.learn(built.batch(step), built.objective, built.pace(0)).gradients]


def weight_gradients(built: Stack, found: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Those of the weight layers' weights, in order; 0 of one that does not learn."""
    places = {id(tensor): i for i, tensor in enumerate(built.parameters)}
    return [
        found[places[id(layer.weight)]] if id(layer.weight) in places else np.zeros(layer.weight.shape)
        for layer in built.network.layers
    ]


# -- all against numpy -------------------------------------------------------------------------------------------------
NORMED = "mlp(depth=3,norm=batch)"
# Behind batch norm the gradients of what a constant pixel reaches are 0 but for rounding, of which these make whole steps.
ROUGH = ("adam", "adamw", "rmsprop", "sign_sgd", "lion", "p_norm")


@pytest.mark.parametrize(
    ("rule", "architecture", "nonlinearity"),
    [
        case
        for case in (
            *itertools.product(RULES, ["mlp3"], ["tanh", "relu"]),
            *itertools.product([rule for rule in RULES if not rule.endswith(ROUGH)], [NORMED], ["tanh"]),
        )
        if suits(*case)
    ],
)
def test_five_steps_equal_numpy(rule: str, architecture: str, nonlinearity: str) -> None:
    """Weights, biases, norms and the pathway's own weights, with decay, and the losses."""
    pathway, update = rule.split("+")
    settings = {"nonlinearity": nonlinearity, "weight_decay": 0.1, "width": 0.125, "epochs": 3}
    members = [member(rule, architecture, model_seed=s, data_seed=s, learning_rate=1.0 + s, **settings) for s in (0, 1)]
    built = stack(*members)
    starts = [_net(built, i, nonlinearity) for i in range(2)]
    owns = [_own(built, i) for i in range(2)]
    batches = [built.batch(step) for step in range(5)]
    losses = np.array([built.step(batch).numpy() for batch in batches])
    for i, one in enumerate(members):
        shown = [(batch.x[i].flatten(1).numpy(), batch.y[i].numpy()) for batch in batches]
        scaled = pathway in ("uniform_sign", "batchwise_sign")
        scale = {"scale": [layer.scale for layer in built.network.layers]} if scaled else {}
        scale |= {"shape": (one.input.channels, one.pixels, one.pixels)}
        scale |= {name: value for name, value in one.rule.parameters.items() if name == "hidden_rate"}

        def drawn(step: int, what: str, index: int, i: int = i) -> np.ndarray:
            return _drawn(built, batches[step], what, index)[i].double().numpy()

        net, own, expected = numpy_rules.run(
            pathway, update, starts[i], shown, one.rate, one.weight_decay, owns[i], drawn, scale
        )
        np.testing.assert_allclose(losses[:, i], expected, rtol=1e-9)
        found = _net(built, i, nonlinearity)
        for part in ("weights", "biases", "gains", "shifts"):
            for ours, theirs in zip(getattr(found, part), getattr(net, part), strict=True):
                assert (ours is None) == (theirs is None)
                if ours is not None:
                    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12)
        for ours, theirs in zip(*(next(iter(each.values()), []) for each in (_own(built, i), own)), strict=True):
            if ours is not None:
                np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12)


def _net(built: Stack, index: int, phi: str) -> numpy_rules.Net:
    """One network of a stack, in numpy."""

    def copied(tensor: torch.Tensor | None) -> np.ndarray | None:
        return None if tensor is None else tensor[index].detach().numpy().copy()

    layers, norms = built.network.layers, built.network.norms
    return numpy_rules.Net(
        [copied(layer.weight) for layer in layers],
        [copied(layer.bias) for layer in layers],
        [copied(norm.weight) for norm in norms],
        [copied(norm.bias) for norm in norms],
        phi,
    )


def _own(built: Stack, index: int) -> dict[str, list[np.ndarray | None]]:
    """What its pathway has of its own, layer by layer."""
    tensors = {name: t[index].detach().numpy().copy() for name, t in built.pathway.tensors().items()}
    for kind in ("direct", "readout", "projection", "pattern", "lateral"):
        if any(kind in name for name in tensors):
            return {kind: list(tensors.values())}
    return {"feedback": [None, *tensors.values()]} if tensors else {}


def _drawn(built: Stack, batch: Batch, what: str, index: int) -> torch.Tensor:
    """The numbers that a rule draws at one update, of all networks: of guesses uniform, else normal."""
    layers, stimuli = built.network.layers, batch.x.shape[1]
    if what in ("guess", "explore", "other", "shift"):
        return counters.uniform(counters.derive(batch.keys, what), (2 if what == "shift" else stimuli,))
    name, shape = {
        "mirror": lambda: (f"mirror {layers[index].name}", (16, layers[index].weight.shape[2])),
        "feedback": lambda: (f"feedback {layers[index].name}", layers[index].weight.shape[1:]),
        "walk": lambda: (f"walk {index}", built.parameters[index].shape[1:]),
        "direction": lambda: (f"direction {index}", built.parameters[index].shape[1:]),
        "nudge": lambda: (f"nudge {layers[index].name}", (stimuli, layers[index].weight.shape[1])),
        "echo": lambda: (f"echo {layers[index].name}", (stimuli, layers[index].weight.shape[1])),
    }[what]()
    return counters.normal(counters.derive(batch.keys, name), shape)


@pytest.mark.parametrize("architecture", ["vnn2", "vnn3"])
@pytest.mark.parametrize("update", ["momentum", "adam", "muon", "exponentiated_gradient"])
@pytest.mark.parametrize("pathway", ["bp", "gevb"])
def test_five_steps_of_vector_units_equal_numpy(pathway: str, update: str, architecture: str) -> None:
    """Weights, cut at 0 past the first layer, and biases, with decay, and the losses."""
    how = {"weight_decay": 0.1, "width": 0.125, "epochs": 3}
    members = [
        member(f"{pathway}+{update}", architecture, model_seed=s, data_seed=s, learning_rate=5.0 + s, **how)
        for s in (0, 1)
    ]
    built = stack(*members)
    starts, batches = [_vectors(built, i) for i in range(2)], [built.batch(step) for step in range(5)]
    losses = np.array([built.step(batch).numpy() for batch in batches])
    for i, one in enumerate(members):
        shown = [(batch.x[i].flatten(1).numpy(), batch.y[i].numpy()) for batch in batches]
        net, expected = numpy_rules.vector_run(pathway, update, starts[i], shown, one.rate, one.weight_decay)
        found = _vectors(built, i)
        np.testing.assert_allclose(losses[:, i], expected, rtol=1e-9)
        for ours, theirs in zip(found.weights + found.biases, net.weights + net.biases, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12)
        assert all((w == 0).any() for w in found.weights[1:])  # where some were cut


def _vectors(built: Stack, index: int) -> numpy_rules.VectorNet:
    """One network of a stack of vector units, in numpy."""
    layers = built.network.layers
    return numpy_rules.VectorNet(
        [layer.weight[index].detach().numpy().swapaxes(1, -1).copy() for layer in layers],
        [layer.bias[index].detach().numpy().reshape(layer.weight.shape[1], -1).copy() for layer in layers],
        [layer.gate[index].numpy().copy() for layer in layers[:-1]],
    )


# -- pathways ----------------------------------------------------------------------------------------------------------
@cache
def backpropagated(architecture: str) -> list[np.ndarray]:
    """Autograd's gradients of the weight layers' weights, of the batch and the network that every rule begins with."""
    built = stack(member("sgdm", architecture))
    parts = dict(zip(map(id, built.network.parameters()), gradients(plain(built), built.batch(0)), strict=True))
    return [parts[id(layer.weight)] for layer in built.network.layers]


@pytest.mark.parametrize(
    ("pathway", "architecture"),
    [(rule.removesuffix("+momentum"), architecture) for rule, architecture in PAIRS if rule in WITH_MOMENTUM],
)
def test_the_top_layer_learns_as_in_backpropagation_and_only_bp_does_below(pathway: str, architecture: str) -> None:
    built = stack(member(f"{pathway}+momentum", architecture))
    found, expected = weight_gradients(built, learn(built)), backpropagated(architecture)
    as_usual = np.allclose(found[-1][0], expected[-1], rtol=1e-9, atol=1e-13)
    undisturbed = pathway == "equilibrium_propagation" and len(found) == 2  # no hidden layer above the only one
    assert as_usual == (CASES[pathway].top or undisturbed)
    for actual, answer in zip(found[:-1], expected[:-1], strict=True):
        distance = np.linalg.norm(actual[0] - answer) / np.linalg.norm(answer)
        assert distance < 1e-10 if pathway == "bp" else distance > (1e-3 if CASES[pathway].near else 0.1)


@every_architecture
@pytest.mark.parametrize("pathway", ["fa", "ia", "kolen_pollack", "activation_alignment"])
def test_feedback_equal_to_the_weights_gives_autograds_gradients(pathway: str, architecture: str) -> None:
    built = stack(
        member(f"{pathway}+momentum", architecture), member(f"{pathway}+momentum", architecture, model_seed=1)
    )
    with torch.no_grad():
        for layer in built.network.layers[1:]:
            layer.feedback.copy_(layer.weight)
    found = learn(built)[: len(built.network.parameters())]
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


@pytest.mark.parametrize("architecture", [name for name in [*USUAL, *FREE] if name not in ("mlp2", "mlp3")])
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
    assert built.pathway.tensors().keys() == CASES[pathway].own


@every_pathway
def test_no_feedback_leaves_the_first_layer(pathway: str) -> None:
    assert stack(member(f"{pathway}+momentum")).network.layers[0].feedback is None


@every_rule
def test_own_weights_move_only_where_the_row_says_so(rule: str) -> None:
    built, case = stack(member(rule)), CASES[rule.split("+")[0]]
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


@cache
def under_sgdm(architecture: str) -> tuple[list[torch.Tensor], dict[int, Batch]]:
    """What a network starts with under a rule, and three batches."""
    built = stack(member("sgdm", architecture))
    return list(built.network.parameters()), {step: built.batch(step) for step in (0, 1, built.first.steps_per_epoch)}


@pytest.mark.parametrize(("rule", "architecture"), PAIRS)
def test_networks_that_differ_only_in_rule_start_equal_and_see_equal_batches(rule: str, architecture: str) -> None:
    built, (weights, batches) = stack(member(rule, architecture)), under_sgdm(architecture)
    for ours, theirs in zip(built.network.parameters(), weights, strict=True):
        assert torch.equal(ours, theirs)
    for step, batch in batches.items():
        assert all(torch.equal(a, b) for a, b in zip(built.batch(step)[:3], batch[:3], strict=True))


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
    noisy = rule.startswith("reinforce+")  # its one pass
    np.testing.assert_allclose(built.step(batch).numpy(), expected, rtol=0.2 if noisy else 1e-12)


@pytest.mark.unchecked
@every_rule
def test_a_rule_learns_a_batch_by_heart(rule: str) -> None:
    built = stack(member(rule, "mlp2", batch_size=32))
    losses = [float(built.step(built.batch(0))) for _ in range(40)]
    assert (losses[-1] < 0.5 * losses[0]) == CASES[rule.split("+")[0]].learns


@every_rule
def test_a_name_and_a_label_mean_the_same_rule(rule: str) -> None:
    assert chosen(chosen(rule, "").label, "") == chosen(rule, "")


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.startswith("none+")])
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
class FromNumpy:
    """An update of `numpy_rules` in the place of an optimizer."""

    def __init__(self, update: str, groups: Sequence[Mapping[str, Any]]) -> None:
        self.parameters = [p for group in groups for p in group["params"]]
        self.decay = [group.get("weight_decay", 0.0) for group in groups for _ in group["params"]]
        self.rate = groups[0]["lr"]
        self.rule = numpy_rules.UPDATES[update]([tuple(p.shape) for p in self.parameters])

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        pairs = [(p.detach().numpy(), p.grad.numpy()) for p in self.parameters]
        if self.rule.decoupled:
            pairs = [(w * (1 - self.rate * decay), g) for (w, g), decay in zip(pairs, self.decay, strict=True)]
        else:
            pairs = [(w, g + decay * w) for (w, g), decay in zip(pairs, self.decay, strict=True)]
        moved = self.rule.step([w for w, _ in pairs], [g for _, g in pairs], self.rate)
        with torch.no_grad():
            for p, w in zip(self.parameters, moved, strict=True):
                p.copy_(torch.from_numpy(w))


def answers(update: str, groups: Sequence[Mapping[str, Any]]) -> Any:
    """PyTorch's own optimizer, or, where it has none, numpy's."""
    return OPTIMIZERS[update](groups) if update in OPTIMIZERS else FromNumpy(update, groups)


@every_update
def test_an_update_equals_numpy_and_torch_optim(update: str) -> None:
    rng = np.random.default_rng(0)
    rates = [1e-3, 0.03, 1.0]
    start = [rng.normal(size=(3, *shape)) for shape in ((4, 5), (6,), (3, 2, 3, 3))]
    steps = [[rng.normal(size=w.shape) * 10.0 ** rng.integers(-4, 1) for w in start] for _ in range(8)]
    tensors = [torch.from_numpy(w.copy()) for w in start]
    built = UPDATES[update](tensors, **UPDATES[update].defaults)
    others = {"numpy": lambda groups: FromNumpy(update, groups)}
    others |= {"torch": OPTIMIZERS[update]} if update in OPTIMIZERS else {}
    copies = {
        name: [[torch.nn.Parameter(torch.from_numpy(w[i].copy())) for w in start] for i in range(3)] for name in others
    }
    optimizers = {
        name: [
            make([{"params": p, "lr": rate, "weight_decay": 0.0}]) for p, rate in zip(copies[name], rates, strict=True)
        ]
        for name, make in others.items()
    }
    for grads in steps:
        built.step(tensors, [torch.from_numpy(g.copy()) for g in grads], torch.tensor(rates, dtype=torch.float64))
        for name, i in itertools.product(others, range(3)):
            for p, g in zip(copies[name][i], grads, strict=True):
                p.grad = torch.from_numpy(g[i].copy())
            optimizers[name][i].step()
            for ours, theirs in zip(tensors, copies[name][i], strict=True):
                np.testing.assert_allclose(ours[i], theirs.detach(), rtol=1e-9, atol=1e-13)


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
        optimizer = answers(update, [group | {"lr": one.rate} for group in groups])
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


@pytest.mark.parametrize(
    ("rule", "architecture"), [pair for pair in itertools.product(RULES, ["mlp3", "knet4"]) if suits(*pair)]
)
def test_the_l2_penalty_pulls_on_weights_only(rule: str, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(decay: float) -> tuple[Stack, list[torch.Tensor]]:
        built, seen = stack(member(rule, architecture, weight_decay=decay)), []
        monkeypatch.setattr(built.update, "step", lambda tensors, grads, rate: seen.extend(g.clone() for g in grads))
        built.step(built.batch(0))
        return built, seen

    (built, free), (shrunk, decayed) = moved(0.0), moved(0.1)
    pathway, layers = rule.split("+")[0], built.network.layers
    spared = {"local_loss": layers, **dict.fromkeys([*UNSUPERVISED, "forward_forward"], layers[:-1])}.get(pathway, [])
    decaying = {id(t) for layer in layers if layer not in spared for t in (layer.weight, layer.feedback)}
    beside = UPDATES[rule.split("+")[1]].decoupled
    for p, after, without, with_decay in zip(built.parameters, shrunk.parameters, free, decayed, strict=True):
        pull = 0.1 * p.detach() if id(p) in decaying else torch.zeros_like(p)
        rate = built.first.rate if beside else 0.0
        np.testing.assert_allclose(
            with_decay - without, torch.zeros_like(pull) if beside else pull, rtol=1e-9, atol=1e-13
        )
        np.testing.assert_allclose(after.detach(), p.detach() - rate * pull, rtol=1e-12)


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


# -- what a wrong rule would not do ------------------------------------------------------------------------------------
def test_kolen_pollacks_matrices_approach_each_other_as_decay_has_it() -> None:
    members = [member("kolen_pollack+sgd", weight_decay=decay) for decay in (0.0, 0.5)]
    built = stack(*members)
    layer = built.network.layers[1]
    before = (layer.weight - layer.feedback).detach().clone()
    for step in range(20):
        built.step(built.batch(step))
    for i, one in enumerate(members):
        expected = before[i] * (1 - one.rate * one.weight_decay) ** 20
        np.testing.assert_allclose((layer.weight - layer.feedback)[i].detach(), expected, rtol=1e-9, atol=1e-14)
    assert not torch.equal(layer.weight[0], layer.weight[1])


@pytest.mark.unchecked
@pytest.mark.parametrize("pathway", ["weight_mirror", "symmetric_alignment", "activation_alignment"])
@pytest.mark.parametrize("architecture", ["mlp3", "convnet(channels=4,depth=3)"])
def test_feedback_turns_to_weights_that_stay(pathway: str, architecture: str) -> None:
    """To β/2α W, as its rate falls: under white noise, by comparison, and for the inputs there are."""
    rule = {"name": pathway, "beta": 3.0, "alpha": 0.75}
    built = stack(member(rule, architecture, learning_rate=1e-12, batch_size=100, width=0.25))
    layer, run = built.network.layers[1], Pass(training=True, keys=built.batch(0).keys)
    w, b = layer.weight.detach(), layer.feedback
    for step, rate in enumerate(np.geomspace(0.1, 0.0001, 600)):
        built.pathway.rate.fill_(float(rate))
        built.step(built.batch(0)._replace(keys=built.batch(step % 10).keys + step))
    built.network.forward(built.batch(0).x, run)
    x = run.received[1].detach()
    ours, theirs, tolerance = b, 2 * w, 1e-3
    if pathway == "activation_alignment":
        ours, theirs, tolerance = layer.forward(x, b, None), 2 * layer.forward(x, w, None), 0.1
    if pathway == "weight_mirror":  # a tap of a convolution meets padding at the border, where there is no noise
        met = layer.correlate(torch.ones_like(x), torch.ones_like(run.outputs[1])) / run.outputs[1][0, :, 0].numel()
        theirs, tolerance = theirs * met, 0.1
    assert (ours - theirs).norm() < tolerance * theirs.norm()


@pytest.mark.parametrize("pathway", ["uniform_sign", "batchwise_sign", "fixed_sign"])
def test_feedback_has_the_signs_of_the_weights_and_magnitudes_of_its_own(pathway: str) -> None:
    built = stack(member(pathway, "knet4"))
    seen = []
    for step in range(3):
        weight = built.network.layers[1].weight.detach().clone()
        built.step(built.batch(step))
        feedback = built.network.layers[1].feedback
        assert torch.equal(feedback.sign(), weight.sign())
        seen.append(feedback.abs().clone())
    assert torch.equal(seen[0], seen[1]) == (pathway != "batchwise_sign")
    assert torch.equal(seen[0], torch.full_like(seen[0], seen[0].flatten()[0])) == (pathway == "uniform_sign")
    size = (built.network.layers[1].scale ** 2) ** 0.5
    assert seen[2].square().mean().sqrt().item() == pytest.approx(size, rel=0.1)


def test_a_muon_step_is_as_orthogonal_as_its_newton_schulz_steps_make_it() -> None:
    """Every singular value ends where the scalar iteration takes it, in a band about 1."""
    from generator.rules.updates.muon import QUINTIC, orthogonalised

    rng = np.random.default_rng(0)
    for shape in ((5, 9), (9, 5), (6, 6)):
        g = rng.normal(size=(2, *shape))
        found = orthogonalised(torch.from_numpy(g), 5).numpy()
        for one, moved in zip(g, found, strict=True):
            u, values, vt = np.linalg.svd(one, full_matrices=False)
            x = values / np.linalg.norm(one)
            for _ in range(5):
                x = QUINTIC[0] * x + QUINTIC[1] * x**3 + QUINTIC[2] * x**5
            np.testing.assert_allclose(moved, u @ np.diag(x) @ vt, atol=1e-6)
            assert np.all((x > 0.65) & (x < 1.25))


def test_exponentiated_gradient_keeps_signs() -> None:
    built = stack(member("exponentiated_gradient", learning_rate=4.0))
    before = [layer.weight.detach().clone() for layer in built.network.layers]
    for step in range(50):
        built.step(built.batch(step))
    for layer, start in zip(built.network.layers, before, strict=True):
        assert torch.equal(layer.weight.sign(), start.sign())
        assert not torch.equal(layer.weight, start)


def test_mirror_descent_in_the_2_norm_is_gradient_descent() -> None:
    two = stack(member({"name": "p_norm", "p": 2}))
    plainly = stack(member("sgd", learning_rate=two.first.rate / chosen("sgd", "").base_rate))
    for step in range(5):
        two.step(two.batch(step))
        plainly.step(plainly.batch(step))
    for ours, theirs in zip(two.parameters, plainly.parameters, strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-9, atol=1e-14)


def test_adamw_without_decay_is_adam() -> None:
    found = [stack(member(rule)) for rule in ("adam", "adamw")]
    for step in range(5):
        for built in found:
            built.step(built.batch(step))
    for ours, theirs in zip(*(built.parameters for built in found), strict=True):
        assert torch.equal(ours, theirs)


def test_a_random_walk_steps_as_far_as_backpropagation_and_nowhere() -> None:
    walk, descent = stack(member("random_walk+sgd", "knet4")), stack(member("sgd", "knet4"))
    again = learn(stack(member("random_walk+sgd", "knet4")))
    ours, theirs = learn(walk), learn(descent)
    for a, b, same in zip(ours, theirs, again, strict=True):
        assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b), rel=1e-6)
        assert np.array_equal(a, same)
    for a, b in zip(weight_gradients(walk, ours), weight_gradients(descent, theirs), strict=True):
        assert abs(np.sum(a * b)) < 4 / a.size**0.5 * np.linalg.norm(a) * np.linalg.norm(b)
    assert not np.allclose(learn(walk, 1)[0], ours[0])


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_nulls_leave_weights_alone_decay_included(decay: float) -> None:
    for rule, moving in (("none", 0), ("read_out_only", 1)):
        built = stack(member(rule, "knet4", weight_decay=decay))
        before = [layer.weight.detach().clone() for layer in built.network.layers]
        for step in range(3):
            built.step(built.batch(step))
        moved = [not torch.equal(layer.weight, w) for layer, w in zip(built.network.layers, before, strict=True)]
        assert moved == [False] * (len(before) - moving) + [True] * moving


def test_a_rule_is_refused_what_it_cannot_train() -> None:
    for one, sentence in (
        (
            member("drtp", "resnet18", "photos", objective="simclr"),
            "grid 1: rule 'drtp' needs labels, but objective 'simclr' learns without any",
        ),
        (
            member("target_prop", "knet4"),
            "grid 1: rule 'target_prop' trains fully connected layers in a chain, without convolutions, norms and links, which "
            "knet4 has; take an mlp without them",
        ),
        (
            member("burst", nonlinearity="tanh"),
            "grid 1: rule 'burst' needs the nonlinearity relu or sigmoid or softplus, not 'tanh'",
        ),
        (
            replace(member("gevb"), architecture="knet4", pixels=16),
            "grid 1: rule 'gevb' needs the architecture vnn2 or vnn3, not 'knet4'",
        ),
        (
            member("fa", "vnn3"),
            "grid 1: rule 'fa' cannot train vnn3; bp, gevb, none, read_out_only and random_walk can",
        ),
    ):
        with pytest.raises(Unfit) as caught:
            check(one, "grid 1", probe=16, checkpoints=3)
        assert str(caught.value) == sentence


@every_architecture
def test_a_chain_is_what_the_tests_take_for_one(architecture: str) -> None:
    one = member("predictive_coding", architecture)
    assert chained(one.family, one.input, one.form) == (architecture in CHAINS)


# -- what a wrong rule would not do: chains --------------------------------------------------------------------------------
def chain(rule: Any, **rest: Any) -> Stack:
    """Three layers of few units, which settle soon."""
    return stack(member(rule, "mlp3", **{"width": 0.125, "nonlinearity": "tanh"} | rest))


def far(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest distance of a tensor from another one, as a share of its length."""
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("rule", "tolerance"),
    [
        ({"name": "dual_propagation", "beta": 1e-3}, 1e-5),
        ({"name": "contrastive_hebbian", "gamma": 0.001}, 5e-3),
        ({"name": "equilibrium_propagation", "gamma": 0.001, "beta": 1e-2}, 5e-3),
    ],
)
def test_weakly_nudged_phases_differ_by_the_gradient(rule: Any, tolerance: float) -> None:
    built = chain(rule)
    assert far(learn(built), learn(chain("sgdm"))) < tolerance
    assert far(learn(chain(rule["name"])), learn(chain("sgdm"))) > 0.01


def test_equilibrium_propagation_descends_the_loss_where_the_network_settles() -> None:
    """With strong feedback, too: its weights' gradient, by differentiation through 200 sweeps of the free phase."""
    built = chain({"name": "equilibrium_propagation", "gamma": 0.5, "beta": 1e-3, "steps": 200})
    tensors, batch = [t.detach()[0].clone().requires_grad_() for t in built.parameters], built.batch(0)
    (w1, b1, w2, b2, w3, b3), x = tensors, batch.x[0].flatten(1)
    one, two = torch.zeros(6, 16, dtype=torch.float64), torch.zeros(6, 16, dtype=torch.float64)
    for _ in range(200):
        one, two = torch.tanh(x @ w1.T + b1 + 0.5 * two @ w2), torch.tanh(one @ w2.T + b2)
    loss = torch.nn.functional.cross_entropy(two @ w3.T + b3, batch.y[0])
    expected = [g.numpy() for g in torch.autograd.grad(loss, tensors)]
    assert far([g[0] for g in learn(built)], expected) < 1e-5
    assert far([g[0] for g in learn(chain("sgdm"))], expected) > 0.01


def test_predictive_coding_learns_where_its_energy_is_least() -> None:
    """Against the energy, written once more, and its least value by L-BFGS."""
    built = chain({"name": "predictive_coding", "steps": 1000})
    tensors, batch = [t.detach()[0].clone().requires_grad_() for t in built.parameters], built.batch(0)
    (w1, b1, w2, b2, w3, b3), x = tensors, batch.x[0].flatten(1)
    values = [torch.zeros(6, 16, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def energy() -> torch.Tensor:
        one, two = values
        missed = (one - torch.tanh(x @ w1.T + b1)).square().sum() + (two - torch.tanh(one @ w2.T + b2)).square().sum()
        return missed / 2 + torch.nn.functional.cross_entropy(two @ w3.T + b3, batch.y[0], reduction="sum")

    search = torch.optim.LBFGS(
        values, max_iter=500, tolerance_grad=1e-13, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        search.zero_grad()
        found = energy()
        found.backward(inputs=values)
        return found

    search.step(closure)
    expected = [g.numpy() / 6 for g in torch.autograd.grad(energy(), tensors)]
    assert far([g[0] for g in learn(built)], expected) < 1e-6
    assert far([g[0] for g in learn(chain("predictive_coding"))], expected) > 1e-3


def test_predictive_coding_is_backpropagation_where_the_error_is_small() -> None:
    """An error a hundredth as large takes the hidden layers' gradients a hundred times as near to backpropagation's."""
    distances = []
    for size in (1e-2, 1e-4):
        found = []
        for rule in ({"name": "predictive_coding", "steps": 1000}, "sgdm"):
            built = chain(rule)
            with torch.no_grad():
                built.network.layers[-1].weight.mul_(size)
            found.append(learn(built)[:4])
        distances.append(far(*found))
    assert distances[0] < 0.1
    assert distances[1] == pytest.approx(distances[0] / 100, rel=0.1)


def test_bursts_carry_small_errors_as_feedback_alignment_does_and_large_ones_no_further_than_the_rate() -> None:
    for size in (1e-4, 1e6):
        found = []
        for rule in ("burst", "fa"):
            built = chain(rule, nonlinearity="relu")
            for layer in built.network.layers[1:]:
                layer.feedback.mul_(size)
            found.append(learn(built)[:4])
        if size < 1:
            assert far(*found) < 1e-6
    run = Pass(training=True)
    built.network.forward(built.batch(0).x, run)
    for bias, y in zip((found[0][1], found[0][3]), run.outputs, strict=False):
        assert np.all(np.abs(bias) <= y.detach().mean(1).numpy() * (1 + 1e-12))


@pytest.mark.unchecked
def test_direct_targets_invert_what_lies_above() -> None:
    """Above the only hidden layer it is linear, and the least of the loss is at Q = Wᵀ (W Wᵀ + λ)⁻¹."""
    built = stack(member("direct_target_prop", "mlp2", learning_rate=1e-12, batch_size=100, width=0.25))
    (q,) = built.pathway.feedback.values()
    for step, rate in enumerate(np.geomspace(0.03, 0.0003, 600)):
        built.pathway.rate.fill_(float(rate))
        built.step(built.batch(0)._replace(keys=built.batch(step % 10).keys + step))
    w = built.network.layers[1].weight[0].detach().numpy()
    expected = w.T @ np.linalg.inv(w @ w.T + 0.1 * np.eye(len(w)))
    assert far([q[0].numpy()], [expected]) < 0.05


@pytest.mark.unchecked
@pytest.mark.parametrize("rule", ["target_prop", "local_target_prop"])
def test_feedback_learns_to_invert_or_to_transpose(rule: str) -> None:
    """What it has learned of weights that stay: how well it gives back what a layer read, or each unit's direction."""
    built = chain(rule, learning_rate=1e-12, batch_size=100)
    layer, above = built.network.layers[1:]
    scores = []
    for step, rate in enumerate([0.0, *np.geomspace(0.03, 0.0003, 600)]):
        built.pathway.rate.fill_(float(rate))
        built.step(built.batch(0)._replace(keys=built.batch(step % 10).keys + step))
        if step in (0, 600):
            run = Pass(training=True)
            built.network.forward(built.batch(0).x, run)
            y, v, w = run.outputs[0].detach(), layer.feedback, layer.weight.detach()
            missed = (torch.tanh(run.outputs[1].detach() @ v) - y).square().mean() / y.square().mean()
            alike = torch.nn.functional.cosine_similarity(v, w, dim=1).mean()
            scores.append(float(missed if rule == "target_prop" else 1 - alike))
    assert scores[1] < 0.5 * scores[0]
    assert above.feedback is not None


# -- what a wrong rule would not do: perturbation and reward ------------------------------------------------------------
def draws(rule: Any, count: int) -> tuple[Stack, np.ndarray]:
    """The mean of many gradients of one batch, each with new random numbers, as one vector."""
    built = stack(member(rule, "mlp2", nonlinearity="tanh", width=0.0625, pixels=8))
    batch, total = built.batch(0), 0.0
    for number in range(count):
        lesson = built.pathway.learn(batch._replace(keys=batch.keys + 1 + number), built.objective, built.pace(0))
        total = total + np.concatenate([g.detach().numpy().ravel() for g in lesson.gradients])
    return built, total / count


@pytest.mark.unchecked
@pytest.mark.parametrize(
    "rule",
    [{"name": "weight_perturbation", "sigma": 1e-5}, "forward_gradient", {"name": "node_perturbation", "sigma": 1e-5}],
)
def test_perturbation_tends_to_the_gradient(rule: Any) -> None:
    """Along the gradient the mean is 1, and off it nothing is left but what so many draws leave by chance."""
    count = 1000
    built, found = draws(rule, count)
    usual = stack(replace(built.first, rule=chosen("sgdm", "")))
    g = np.concatenate([each.ravel() for each in learn(usual)])
    along = found @ g / (g @ g)
    assert along == pytest.approx(1, abs=0.3)
    rest = np.linalg.norm(found - along * g) / np.linalg.norm(g)
    assert rest < 1.5 * np.sqrt(len(g) / count)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("rule", "rate", "least"),
    [
        ("weight_perturbation", 4.0, 0.9),
        ("forward_gradient", 4.0, 0.9),
        ("node_perturbation", 1.0, 0.9),
        ("reinforce", 4.0, 0.3),
        ("brain_prop", 1.0, 0.5),
    ],
)
def test_what_learns_from_noise_or_reward_comes_to_know_a_batch_late(rule: str, rate: float, least: float) -> None:
    how: dict[str, Any] = {"batch_size": 32, "width": 0.125, "pixels": 8, "epochs": 60, "learning_rate": rate}
    built = stack(member(rule, "mlp2", **how))
    batch = built.batch(0)

    def right() -> float:
        return float((built.network.forward(batch.x, Pass()).argmax(-1) == batch.y).double().mean())

    assert right() < 0.2
    for step in range(2000):
        built.step(batch._replace(keys=batch.keys + step, step=step))
    assert right() > least


@pytest.mark.unchecked
def test_reinforce_climbs_the_expected_reward() -> None:
    """Of the last layer: −⟨p_y (y* − p) xᵀ⟩, the slope of the probability of a right guess."""
    built, found = draws({"name": "reinforce", "sigma": 1e-6, "memory": 0.0}, 3000)
    run, batch = Pass(training=True), built.batch(0)
    p = built.network.forward(batch.x, run)[0].detach().softmax(-1).numpy()
    x, y = run.received[1][0].detach().numpy(), np.eye(10)[batch.y[0].numpy()]
    expected = -((p * y).sum(1, keepdims=True) * (y - p)).T @ x / len(x)
    start = len(found) - expected.size - 10
    ours = found[start : start + expected.size].reshape(expected.shape)
    assert np.sum(ours * expected) / np.sum(expected**2) == pytest.approx(1, abs=0.3)


def test_brain_prop_hears_of_its_guess_alone() -> None:
    built = stack(member({"name": "brain_prop", "epsilon": 0.0}))
    batch = built.batch(0)
    chosen_ones = built.network.forward(batch.x, Pass(training=True))[0].argmax(-1).unique().tolist()
    moved = np.flatnonzero(np.abs(weight_gradients(built, learn(built))[-1][0]).sum(1)).tolist()
    assert moved == chosen_ones
    assert len(moved) < 10


# -- what a wrong rule would not do: layers that learn for themselves ---------------------------------------------------
UNSUPERVISED = [name for name, one in PATHWAYS.items() if one.family == "unsupervised"]


@pytest.mark.parametrize("pathway", [*UNSUPERVISED, "local_loss", "forward_forward"])
@pytest.mark.parametrize("architecture", ["mlp3", "knet4"])
def test_nothing_of_the_output_reaches_the_layers_below(pathway: str, architecture: str) -> None:
    """Other weights of the last layer, and to unsupervised rules other labels, change nothing but what the last layer learns."""
    built, other = stack(member(pathway, architecture)), stack(member(pathway, architecture))
    with torch.no_grad():
        other.network.layers[-1].weight.mul_(-3)
    batch = other.batch(0)
    if pathway in UNSUPERVISED:
        batch = batch._replace(y=(batch.y + 1) % 10)
    ours = weight_gradients(built, learn(built))
    theirs = weight_gradients(
        other, [g.numpy() for g in other.pathway.learn(batch, other.objective, other.pace(0)).gradients]
    )
    assert all(np.array_equal(a, b) for a, b in zip(ours[:-1], theirs[:-1], strict=True))
    assert all(np.abs(a).sum() > 0 for a in ours)
    assert not np.allclose(ours[-1], theirs[-1])


def layer_and_inputs(rule: Any, units: int) -> tuple[Any, Any, torch.Tensor]:
    """A pathway, its first layer of few units, and all digits at 8 pixels."""
    built = stack(member(rule, "mlp2", width=units / 128, batch_size=1000, pixels=8))
    return built.pathway, built.network.layers[0], built.batch(0).x.flatten(2)


def test_oja_finds_the_first_principal_component_at_unit_length() -> None:
    pathway, layer, x = layer_and_inputs("oja", 3)
    with torch.no_grad():
        for _ in range(3000):
            layer.weight.add_(pathway.change(layer, x, layer.forward(x, layer.weight, None)), alpha=0.01)
    values, vectors = np.linalg.eigh(x[0].T.numpy() @ x[0].numpy() / len(x[0]))
    first = vectors[:, -1]
    assert values[-1] > 1.05 * values[-2]
    for w in layer.weight[0].detach().numpy():
        assert np.linalg.norm(w) == pytest.approx(1, abs=1e-6)
        assert abs(w @ first) == pytest.approx(1, abs=1e-6)


@pytest.mark.unchecked
def test_similarity_matching_finds_the_space_of_the_first_components() -> None:
    """Its filters (I + M)⁻¹ W come to be orthonormal, and to span what the first principal components span."""
    pathway, layer, x = layer_and_inputs("similarity_matching", 3)
    lateral = pathway.lateral[layer.name]
    run = Pass(drives=[])
    with torch.no_grad():
        for _ in range(6000):
            run.received, run.drives = [x], [layer.forward(x, layer.weight, None)]
            w, m = pathway.teach(run, x, Batch(x, x))
            layer.weight.sub_(w, alpha=0.003)
            lateral.sub_(m, alpha=0.03)
        filters = torch.linalg.solve(torch.eye(3) + lateral[0], layer.weight[0]).numpy()
    _, vectors = np.linalg.eigh(x[0].T.numpy() @ x[0].numpy() / len(x[0]))
    assert np.linalg.norm(filters @ vectors[:, -3:]) ** 2 / np.linalg.norm(filters) ** 2 > 0.99
    np.testing.assert_allclose(filters @ filters.T, np.eye(3), atol=0.05)


def test_hebb_keeps_the_length_of_each_units_weights() -> None:
    built = stack(member("hebb", "knet4"))
    for w, g in zip((layer.weight for layer in built.network.layers[:-1]), learn(built), strict=False):
        along = (w.detach().numpy() * g).reshape(*g.shape[:2], -1).sum(-1)
        assert np.all(np.abs(along) < 1e-12 * np.linalg.norm(g))


@pytest.mark.unchecked
def test_bcm_settles_where_activity_is_its_threshold() -> None:
    """Of a stimulus that never changes θ comes to be y², so y = θ = 1."""
    pathway, layer, x = layer_and_inputs("bcm", 4)
    x = x[:, :1].expand(1, 50, -1)
    with torch.no_grad():
        layer.weight.copy_(layer.weight.abs() * x[:, :1].sign())  # none is silent
        for _ in range(4000):
            y = layer.forward(x, layer.weight, None).relu()
            layer.weight.add_(pathway.change(layer, x, y), alpha=1e-3)
    np.testing.assert_allclose(y[0], 1, atol=1e-2)
    np.testing.assert_allclose(pathway.thresholds[layer.name][0], 1, atol=1e-2)


def test_the_most_driven_cells_learn() -> None:
    """krotov_hopfield: of a single stimulus the first and the ranked one; soft_hebb without heat: the first alone."""
    for rule, count in (({"name": "krotov_hopfield", "rank": 4}, 2), ({"name": "soft_hebb", "tau": 1e-3}, 1)):
        pathway, layer, x = layer_and_inputs(rule, 16)
        one = x[:, :1]
        u = layer.forward(one, layer.weight, None)
        with torch.no_grad():
            change = pathway.change(layer, one, u)[0].numpy()
        order = np.argsort(-u.detach().numpy()[0, 0])
        assert set(np.flatnonzero(np.abs(change).sum(1) > 1e-9)) == {order[0], order[3]} if count == 2 else {order[0]}
        w = layer.weight[0, order[0]].detach().numpy()
        np.testing.assert_allclose(change[order[0]], one[0, 0].numpy() - (w @ one[0, 0].numpy()) * w, rtol=1e-9)


def test_forward_forward_comes_to_tell_right_labels_from_wrong_ones() -> None:
    built = stack(member("forward_forward", batch_size=100))

    def told(step: int) -> float:
        run = Pass(training=True, cut=True, even=True)
        batch = built.batch(step)
        built.network.forward(built.pathway.stimuli(batch.x, batch), run)
        return min(
            float((g[0, :100] > g[0, 100:]).double().mean()) for g in (y.square().mean(2) for y in run.outputs[:-1])
        )

    before = told(0)
    for step in range(140):
        built.step(built.batch(step % 14))
    assert before < 0.6
    assert told(0) > 0.8


def test_pepita_without_projection_teaches_the_last_layer_alone() -> None:
    built = stack(member({"name": "pepita", "strength": 0.0}))
    found = weight_gradients(built, learn(built))
    assert all(np.all(g == 0) for g in found[:-1])
    assert np.abs(found[-1]).sum() > 0


def test_a_factor_on_the_rate_counts_where_steps_are_as_large_as_gradients() -> None:
    for update, kind in UPDATES.items():
        usual, ours = (chosen(f"{pathway}+{update}", "").base_rate for pathway in ("bp", "local_loss"))
        assert ours == pytest.approx(usual * (PATHWAYS["local_loss"].relative_rate if kind.proportional else 1))
        built = stack(member(f"bp+{update}"), member(f"bp+{update}"))
        before = [tensor.detach().clone() for tensor in built.parameters]
        drawn = [torch.from_numpy(np.random.default_rng(0).normal(size=t.shape[1:])) for t in built.parameters]
        with torch.no_grad():
            built.update.step(built.parameters, [torch.stack([g, 3 * g]) for g in drawn], built.rate)
        moves = [(t.detach() - was).abs().flatten(1).amax(1) for t, was in zip(built.parameters, before, strict=True)]
        once, thrice = torch.stack(moves).amax(0).tolist()
        assert (thrice > 1.5 * once) == kind.proportional, update


# -- what a wrong rule would not do: vector units ------------------------------------------------------------------------
def test_a_stimulus_told_as_one_error_vector_moves_no_weight_against_its_gradient() -> None:
    """The theorem of Clark et al.; and without its premise, weights of one sign past the first layer, it does not hold."""
    for sign, agree in ((1.0, True), (-1.0, False)):
        for trained in (0, 30):
            told, descended = (stack(member(rule, "vnn3", batch_size=1, width=0.25)) for rule in ("gevb", "sgdm"))
            for step in range(trained):
                told.step(told.batch(step))
            with torch.no_grad():
                for ours, theirs in zip(told.parameters, descended.parameters, strict=True):
                    theirs.copy_(ours)
                for built in (told, descended):
                    built.network.layers[1].weight[:, ::3].mul_(sign)
            same, opposed = 0, 0
            for step in range(trained, trained + 5):
                for ours, theirs in zip(learn(told, step), learn(descended, step), strict=True):
                    same, opposed = same + (ours * theirs > 0).sum(), opposed + (ours * theirs < 0).sum()
                    assert agree <= (np.all(ours[theirs != 0] != 0))
            assert same > 1000
            assert (opposed == 0) == agree


def test_every_vector_unit_is_told_the_same_error() -> None:
    """So where units are open for the same stimuli, as both of a pair are at the start, their biases learn the same."""
    for rule, alike in (("gevb", True), ("sgdm", False)):
        built = stack(member(rule, "vnn3", batch_size=1))
        for place, tensor in enumerate(built.parameters):
            if tensor is built.network.layers[-1].bias:
                error = learn(built)[place].reshape(-1)
            elif any(tensor is layer.bias for layer in built.network.layers):
                told = learn(built)[place].reshape(-1, 10)
                told = told[np.abs(told).sum(1) > 0]
                assert 10 < len(told) < 118
        assert np.allclose(told, error, rtol=1e-12) == alike


@pytest.mark.parametrize("rule", [rule for rule in RULES if suits(rule, "vnn3")])
def test_no_weight_of_vector_units_turns_negative(rule: str) -> None:
    built = stack(member(rule, "vnn3", learning_rate=5.0, width=0.25, weight_decay=0.01))
    for step in range(10):
        built.step(built.batch(step))
        assert all(bool((layer.weight >= 0).all()) for layer in built.network.layers[1:])
    assert bool((built.network.layers[0].weight < 0).any())


@pytest.mark.unchecked
@pytest.mark.parametrize(("rule", "low", "high"), [("gevb", 0.9, 1), ("gevb+adam", 0.9, 1), ("read_out_only", 0, 0.4)])
def test_one_error_vector_teaches_digits(rule: str, low: float, high: float) -> None:
    """Found: 0.96 twice, 0.95 and 0.94, 0.24 and 0.07."""
    built = Stack([member(rule, "vnn3", batch_size=32, width=0.25, model_seed=seed) for seed in (0, 1)])
    for step in range(84):
        built.step(built.batch(step % 42))
    probe = built.probe(256)
    found = built.network.forward(probe.x, Pass()).argmax(2) == probe.y
    assert bool((low < found.double().mean(1)).all())
    assert bool((found.double().mean(1) < high).all())
