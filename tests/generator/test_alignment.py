"""Information alignment: the gradient of its loss from autograd, and where its backward weights tend to."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import member, stack
from torch import Tensor

from generator.architectures.layers import Pass, WeightLayer
from generator.rules.pathways.alignment import InformationAlignment
from generator.training import angles
from generator.training.stack import Stack

METAPARAMETERS = {"alpha": 2.0, "beta": 0.7, "gamma": 1.0}


def ia(architecture: str, count: int = 2, **overrides: float) -> tuple[Stack, InformationAlignment, Pass]:
    """A stack that learns by ia, biases included, and what its layers see of one batch."""
    rule = {"name": "ia", **METAPARAMETERS, **overrides}
    built = stack(*(member(rule, architecture, model_seed=s, data_seed=s) for s in range(count)))
    assert isinstance(built.pathway, InformationAlignment)
    torch.manual_seed(0)
    with torch.no_grad():
        for layer in built.network.layers:
            if layer.bias is not None:
                layer.bias.normal_()
    run = Pass(training=True, drives=[])
    built.network.forward(built.batch(0).x, run)
    return built, built.pathway, run


def passed(built: Stack, run: Pass) -> list[tuple[WeightLayer, Tensor, Tensor]]:
    """Each layer with its x and its W x."""
    assert run.drives is not None
    return list(zip(built.network.layers, run.received, run.drives, strict=True))


def loss(layer: WeightLayer, feedback: Tensor, index: int, x: Tensor, weights: Mapping[str, float]) -> Tensor:
    """α·amp + β·null + γ·decay of one network, W held constant."""
    w = layer.weight[index].detach()
    if w.ndim == 2:
        p_f, p_b = x @ w.T, x @ feedback.T
        back = p_f @ feedback
    else:
        p_f, p_b = (F.conv2d(x, matrix, padding=2).movedim(1, -1) for matrix in (w, feedback))
        back = F.conv2d(p_f.movedim(-1, 1), feedback.flip(-2, -1).transpose(0, 1), padding=2).movedim(1, -1)
    amp = -(p_f * p_b).sum(-1).mean()
    null = back.square().sum(-1).mean()
    decay = w.square().sum() + feedback.square().sum()
    return weights["alpha"] * amp + weights["beta"] * null + weights["gamma"] * decay


def from_autograd(layer: WeightLayer, index: int, x: Tensor, weights: Mapping[str, float]) -> Tensor:
    assert layer.feedback is not None
    feedback = layer.feedback[index].clone().requires_grad_()
    return torch.autograd.grad(loss(layer, feedback, index, x, weights), feedback)[0]


@pytest.mark.parametrize("architecture", ["mlp2", "mlp3", "knet4", "knet4lrn"])
def test_the_gradient_is_that_of_the_alignment_loss_and_every_term_counts(architecture: str) -> None:
    built, pathway, run = ia(architecture)
    for layer, x, p_f in passed(built, run)[1:]:
        with torch.no_grad():
            found = pathway.gradient(layer, x, p_f, built.batch(0))
        for i in range(2):
            expected = from_autograd(layer, i, x[i].detach(), METAPARAMETERS)
            np.testing.assert_allclose(found[i], expected, rtol=1e-9, atol=1e-11 * float(expected.abs().max()))
            for dropped in METAPARAMETERS:
                other = from_autograd(layer, i, x[i].detach(), METAPARAMETERS | {dropped: 0.0})
                assert float((found[i] - other).norm()) > 1e-3 * float(expected.norm()), dropped


def test_a_step_moves_feedback_along_that_gradient_by_adam_at_its_own_rate() -> None:
    built, pathway, run = ia("mlp3", feedback_rate=0.02)
    layers = built.network.layers[1:]
    expected = []
    for layer, x in zip(layers, run.received[1:], strict=True):
        each = [from_autograd(layer, i, x[i].detach(), METAPARAMETERS) for i in range(2)]
        g = torch.stack(each)
        expected.append(layer.feedback - 0.02 * g / (g.abs() + 1e-8))
    pathway.learn(built.batch(0), built.objective, built.pace(0))
    for layer, answer in zip(layers, expected, strict=True):
        np.testing.assert_allclose(layer.feedback, answer, rtol=1e-8, atol=1e-10)


def closed_form(w: Tensor, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """(α/2) (β W Σ Wᵀ + γ I)⁻¹ W Σ, with Σ = ⟨x xᵀ⟩."""
    sigma = x.T @ x / len(x)
    return alpha / 2 * torch.linalg.solve(beta * w @ sigma @ w.T + gamma * torch.eye(len(w), dtype=w.dtype), w @ sigma)


@torch.no_grad()
def test_descending_the_gradient_ends_at_the_closed_form() -> None:
    built, pathway, run = ia("mlp3")
    for layer, x, p_f in passed(built, run)[1:]:
        start = layer.feedback.clone()
        answers = torch.stack([closed_form(layer.weight[i], x[i], **METAPARAMETERS) for i in range(2)])
        covariance = layer.weight @ (x.mT @ x / x.shape[1]) @ layer.weight.mT
        curvature = 2 * METAPARAMETERS["gamma"] + 2 * METAPARAMETERS["beta"] * float(
            torch.linalg.matrix_norm(covariance, 2).max()
        )
        for _ in range(int(12 * curvature / METAPARAMETERS["gamma"])):
            layer.feedback -= pathway.gradient(layer, x, p_f, built.batch(0)) / curvature
        np.testing.assert_allclose(layer.feedback, answers, rtol=1e-7, atol=1e-7)
        assert float((start - answers).norm()) > 0.5 * float(answers.norm())


def test_learning_from_one_batch_with_still_weights_ends_near_the_closed_form() -> None:
    built, pathway, run = ia("mlp2", count=1, feedback_rate=0.01, gamma=3.0)
    layer, x = built.network.layers[1], run.received[1][0].detach()
    answer = closed_form(layer.weight[0].detach(), x, **METAPARAMETERS | {"gamma": 3.0})
    for _ in range(800):
        pathway.learn(built.batch(0), built.objective, built.pace(0))
    assert float((layer.feedback[0] - answer).norm()) < 1e-3 * float(answer.norm())


def test_angles_of_sign_symmetry_have_closed_forms() -> None:
    """Of normal weights: acos √(2/π) where only signs are seen, acos 2/π where sizes are others'."""
    stack = Stack([angles.candidates()["uniform_sign"]])
    stack.step(stack.batch(0))
    assert angles.angle(stack.network) == pytest.approx(math.degrees(math.acos(math.sqrt(2 / math.pi))), abs=0.5)
    stack = Stack([angles.candidates()["fixed_sign"]])
    stack.step(stack.batch(0))
    assert angles.angle(stack.network) == pytest.approx(math.degrees(math.acos(2 / math.pi)), abs=0.7)
