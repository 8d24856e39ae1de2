"""Nonlinearities against their definitions: values, derivatives, initial laws, and what the activity change makes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import gradients, member, plain, run, stack
from scipy import integrate, special
from torch import Tensor

from generator.architectures.layers import NONLINEARITIES, Conv, Linear, Pass, WeightLayer
from generator.dataset.electrodes import FULL
from generator.observables.contract import Implant, Scene
from generator.observables.signals import ChangeTerms
from generator.training.stack import Stack

# φ and φ′ in numpy, from the definitions.
BY_HAND = {
    "linear": (lambda a: a, np.ones_like),
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0) * 1.0),
    "tanh": (np.tanh, lambda a: 1 / np.cosh(a) ** 2),
    "leaky_relu": (lambda a: np.where(a > 0, a, 0.01 * a), lambda a: np.where(a > 0, 1, 0.01)),
    "elu": (lambda a: np.where(a > 0, a, np.exp(a) - 1), lambda a: np.where(a > 0, 1, np.exp(a))),
    "gelu": (
        lambda a: a * (1 + special.erf(a / math.sqrt(2))) / 2,
        lambda a: (1 + special.erf(a / math.sqrt(2))) / 2 + a * np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi),
    ),
    "sigmoid": (special.expit, lambda a: special.expit(a) * special.expit(-a)),
    "softplus": (lambda a: np.logaddexp(0, a), special.expit),
}
NEW = ["leaky_relu", "elu", "gelu", "sigmoid", "softplus"]
every = pytest.mark.parametrize("name", NONLINEARITIES)


def test_every_one_has_its_definition() -> None:
    assert BY_HAND.keys() == NONLINEARITIES.keys()


@every
def test_values_and_derivatives_are_those_of_the_definition(name: str) -> None:
    one, (phi, slope) = NONLINEARITIES[name], BY_HAND[name]
    a = np.concatenate([np.linspace(-12, 12, 4801), [1e-3, -1e-3]])
    a = a[a != 0]
    given = torch.from_numpy(a)
    y = one.phi(given)
    known = given if one.of_input else y
    np.testing.assert_allclose(y, phi(a), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(one.phi_(given.clone()), phi(a), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(one.slope(known), slope(a), rtol=1e-9, atol=1e-12)
    g = torch.from_numpy(np.random.default_rng(0).normal(size=a.shape))
    np.testing.assert_allclose(one.backward(g, known), g.numpy() * slope(a), rtol=1e-9, atol=1e-12)


@every
def test_derivatives_in_single_precision_are_near(name: str) -> None:
    one, (_, slope) = NONLINEARITIES[name], BY_HAND[name]
    a = np.linspace(-8, 8, 1600)
    given = torch.from_numpy(a).float()
    known = given if one.of_input else one.phi(given)
    for found in (one.slope(known), one.backward(torch.ones_like(given), known)):
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found, slope(a), rtol=0, atol=5e-7)


@every
def test_homogeneous_ones_are_marked(name: str) -> None:
    one, a = NONLINEARITIES[name], torch.linspace(-3, 3, 50, dtype=torch.float64)
    holds = all(torch.allclose(one.phi(c * a), c * one.phi(a), rtol=1e-12) for c in (0.1, 7.0))
    assert one.homogeneous == (holds and name != "linear")


@pytest.mark.parametrize("name", ["relu", *NEW])
def test_initial_gain_is_one_over_the_mean_square_of_the_output(name: str) -> None:
    """∫ φ(z)² N(z; 0, 1) dz, in float64, either side of the kink."""
    phi = BY_HAND[name][0]
    parts = [
        integrate.quad(
            lambda z: float(phi(z)) ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi), *side, epsabs=1e-13
        )
        for side in ((-30, 0), (0, 30))
    ]
    assert NONLINEARITIES[name].gain == pytest.approx(1 / sum(value for value, _ in parts), rel=1e-6)


def test_relu_and_tanh_start_as_they_did() -> None:
    assert [NONLINEARITIES[name].gain for name in ("linear", "relu", "tanh")] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("name", ["relu", *NEW])
def test_the_mean_square_of_what_enters_the_nonlinearity_is_kept_from_layer_to_layer(name: str) -> None:
    built = stack(*(member("sgdm", "mlp(depth=6)", nonlinearity=name, width=8.0, model_seed=s) for s in (0, 1, 2)))
    x, drives = built.probe(64).x, list[Tensor]()
    x = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / math.sqrt(
        NONLINEARITIES[name].gain
    )
    built.network.forward(x, Pass(drives=drives))
    for drive in drives[:-1]:
        assert float(drive.square().mean()) == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize(
    "architecture", ["mlp3", "knet4", "knet4lrn", "alexnet", "resnet18", "convnet(channels=4,norm=layer)"]
)
@pytest.mark.parametrize("nonlinearity", NEW)
def test_forward_pass_and_gradients_equal_a_plain_build(architecture: str, nonlinearity: str) -> None:
    built = stack(*(member("sgdm", architecture, nonlinearity=nonlinearity, model_seed=s) for s in (0, 1)))
    batch, models = built.batch(0), [plain(built, i) for i in range(2)]
    found = built.pathway.learn(batch, built.objective, built.pace(0)).gradients
    outputs = built.network.forward(batch.x, Pass(training=True, keys=batch.keys)).detach()
    for i, model in enumerate(models):
        np.testing.assert_allclose(outputs[i], run(model, batch, i).detach(), rtol=1e-9, atol=1e-12)
        for actual, answer in zip(found, gradients(model, batch, i), strict=True):
            np.testing.assert_allclose(actual[i], answer, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("nonlinearity", NEW)
def test_a_pass_that_keeps_its_drives_computes_the_same(nonlinearity: str) -> None:
    built, drives = stack(member("sgdm", "mlp3", nonlinearity=nonlinearity)), list[Tensor]()
    x = built.probe(4).x
    assert torch.equal(*(built.network.forward(x, each) for each in (Pass(), Pass(drives=drives))))
    phi = BY_HAND[nonlinearity][0]
    seen = Pass()
    built.network.forward(x, seen)
    np.testing.assert_allclose(seen.outputs[0].detach(), phi(drives[0].detach().numpy()), rtol=1e-12)


def _layer(kind: str, nonlinearity: str, rng: torch.Generator) -> tuple[WeightLayer, Tensor]:
    def draw(purpose: str, name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.randn((2, *shape), generator=rng, dtype=torch.float64)

    layer: WeightLayer = (
        Linear("l", 6, 5, nonlinearity, draw) if kind == "linear" else Conv("l", 2, 3, 3, nonlinearity, draw)
    )
    assert layer.bias is not None
    layer.bias.copy_(torch.randn(layer.bias.shape, generator=rng, dtype=torch.float64))
    shape = (2, 4, 6) if kind == "linear" else (2, 4, 2, 4, 4)
    return layer, torch.randn(shape, generator=rng, dtype=torch.float64)


@every
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_the_activity_change_is_the_sum_of_the_jacobian_by_autograd(kind: str, name: str) -> None:
    layer, x = _layer(kind, name, torch.Generator().manual_seed(0))
    y = layer(x, Pass())
    found = ChangeTerms().pick(Scene(layer, x, y, 0, implants={FULL: Implant()}), FULL)
    for k in range(2):
        for b in range(4):
            (jacobian,) = torch.autograd.functional.jacobian(
                lambda one, k=k: NONLINEARITIES[name].phi(
                    layer.forward(torch.stack([one, one])[:, None], layer.weight, layer.bias)
                )[k],
                (x[k, b],),
            )
            expected = float(jacobian.sum()) / y[0, 0].numel()
            values = found.values[k]
            assert float(values[b] if len(values) > 1 else values[0]) == pytest.approx(expected, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_checkpoint_computes_again_is_what_the_layer_computed(precision: str) -> None:
    built = Stack([member("sgdm", "convnet(channels=4)", nonlinearity="gelu", precision=precision)])
    seen = Pass()
    built.network.forward(built.probe(5).x, seen)
    for layer, x, y in zip(built.network.layers, seen.received, seen.outputs, strict=True):
        assert torch.equal(layer.phi.phi(layer.preactivation(x)), y)
