"""What a GPU runs, on a CPU: a whole stack in one call computes what each network, or block, on its own does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import member, stack

from generator import kernels
from generator.observables import OBSERVABLES
from generator.observables.signals import activity_change
from generator.observables.tensors import CHUNK, SHORT, tensor_statistics
from generator.spec.network import NetworkSpec
from generator.training import loop
from generator.training.stack import Stack

CONVOLUTIONAL = ["knet4", "knet4lrn", "alexnet", "resnet18", "resnet18v2", "convnet(depth=3,norm=layer)"]


def learned(members: list[NetworkSpec], how: kernels.Kernels) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Losses and state of a stack in float64 after three updates."""
    with kernels.chosen(how):
        built = stack(*members)
        built.settle()
        losses = [built.step(built.batch(step)).numpy() for step in range(3)]
        return np.array(losses), built.state()


@pytest.mark.parametrize("architecture", CONVOLUTIONAL)
@pytest.mark.parametrize("rule", ["sgdm", "fa", "ia"])
def test_a_whole_stack_learns_what_its_networks_do(architecture: str, rule: str) -> None:
    members = [member(rule, architecture, "photos", model_seed=seed, data_seed=seed) for seed in range(3)]
    losses, pieces = learned(members, "pieces")
    again, whole = learned(members, "whole")
    np.testing.assert_allclose(again, losses, rtol=1e-9)
    assert np.ptp(losses, axis=1).min() > 0, "networks differ"
    for name, array in pieces.items():
        np.testing.assert_allclose(
            whole[name], array, rtol=1e-6, atol=1e-9 * np.abs(array).max(initial=1), err_msg=name
        )


@pytest.mark.parametrize("architecture", ["mlp3", "mlp(depth=3,norm=layer)", "resnet18"])
def test_everything_measured_is_the_same(architecture: str) -> None:
    task = "photos" if architecture == "resnet18" else "digits"
    members = [member("fa", architecture, task, model_seed=seed, batch_size=100) for seed in range(2)]
    found = {}
    for how in ("pieces", "whole"):
        with kernels.chosen(how):
            built = Stack(members, observables=tuple(OBSERVABLES))
            built.settle()
            found[how] = loop.observe(built, built.probe(32))[2].numpy()
    share = np.isclose(found["whole"], found["pieces"], rtol=1e-3, atol=1e-5, equal_nan=True).mean()
    assert share > 0.99
    assert np.isfinite(found["whole"]).mean() > 0.5  # changes have none yet


@pytest.mark.parametrize(
    "shape", [(7, 5), (3, SHORT), (2, SHORT + 1), (1, CHUNK + 3), (CHUNK // 512 + 2, 512), (4, 0), (3, 1)]
)
@pytest.mark.parametrize("positive", [True, False])
def test_statistics_of_tensors_are_the_same(shape: tuple[int, int], positive: bool) -> None:
    x = torch.from_numpy(np.random.default_rng(1).standard_normal(shape).astype(np.float32))
    x = x.abs() if positive else x
    with kernels.chosen("whole"):
        whole = tensor_statistics(x)
    torch.testing.assert_close(whole, tensor_statistics(x), rtol=1e-5, atol=1e-6, equal_nan=True)


def test_activity_changes_are_the_same() -> None:
    built = Stack([member(model_seed=seed) for seed in range(3)])
    layer = built.network.layers[1]
    y, response = torch.rand(3, 11, layer.weight.shape[1]) - 0.3, torch.rand(3, 1, layer.weight.shape[1])
    with kernels.chosen("whole"):
        whole = activity_change(layer, y, response)
    torch.testing.assert_close(whole, activity_change(layer, y, response))


def test_a_setting_ends_with_its_block() -> None:
    x = torch.zeros(())
    with kernels.chosen("whole"):
        assert not kernels.in_pieces(x)
        with kernels.chosen("pieces"):
            assert kernels.in_pieces(x)
        assert not kernels.in_pieces(x)
    assert kernels.in_pieces(x)
