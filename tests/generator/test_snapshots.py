"""All 45 statistics of a small dataset, recomputed in float64 from the raw tensors it keeps beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from oracles import TOLERANCE, close, floor, statistics
from safetensors.numpy import load_file

from generator.observables.tensors import TENSOR_STATISTICS
from generator.running.generate import generate
from generator.spec.spec import parse

pytestmark = pytest.mark.unchecked

PROBE, CHECKPOINTS = 32, 3
SPEC = f"""
name = "snapshots"
checkpoints = {CHECKPOINTS}
probe = {PROBE}
[snapshots]
networks = 8
[[grid]]
task = ["digits", "photos"]
architecture = "mlp3"
nonlinearity = ["relu", "tanh"]
rule = ["sgdm", "fa"]
batch_size = 100
epochs = 2
learning_rate = 2.0
[[grid]]
task = ["digits", "photos"]
architecture = "knet4"
rule = ["sgdm", "fa"]
batch_size = 100
epochs = 1
"""
NETWORKS = 2 * 2 * 2 + 2 * 2
ROWS = (2 * 2 * 2 * 3 + 2 * 2 * 4) * CHECKPOINTS
FUNCTIONS = {"change_raw": lambda v: v, "change_sq": lambda v: v**2, "change_abs": abs}


@dataclass(frozen=True)
class Layer:
    """One layer at one checkpoint: its row and its raw tensors, in float64."""

    row: pd.Series
    tensors: dict[str, np.ndarray]

    def __getitem__(self, part: str) -> np.ndarray:
        if part == "bias" and (self.row.architecture, self.row.layer) == ("knet4", "conv1"):  # in front of batch norm
            return np.zeros(1)
        return self.tensors[f"{self.row.layer}.{part}"].astype(np.float64)

    def __str__(self) -> str:
        return " ".join(
            str(self.row[c]) for c in ("rule", "architecture", "nonlinearity", "task", "layer", "checkpoint")
        )

    @property
    def nonlinearity(self) -> str:
        """What follows the layer directly: nothing after the logits and the first convolution."""
        linear = {"mlp3": ("fc3",), "knet4": ("conv1", "fc")}[self.row.architecture]
        return "linear" if self.row.layer in linear else str(self.row.nonlinearity)

    def apply(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """W x, without bias."""
        if weight.ndim == 2:
            return x @ weight.T
        return F.conv2d(torch.from_numpy(x), torch.from_numpy(weight), padding=2).numpy()

    def output(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """φ(W x + b)."""
        a = self.apply(x, weight) + self["bias"].reshape(-1, *(1,) * (weight.ndim - 2))
        return {"linear": lambda a: a, "relu": lambda a: np.maximum(a, 0), "tanh": np.tanh}[self.nonlinearity](a)

    def slope_times_response(self, weight: np.ndarray) -> np.ndarray:
        """φ′(a_i) r_i for every stimulus and unit, with r = W applied to ones."""
        y = self["output"]
        slope = {"linear": np.ones_like(y), "relu": (y > 0) * 1.0, "tanh": 1 - y**2}[self.nonlinearity]
        return slope * self.apply(np.ones_like(self["input"][:1]), weight)


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset with the raw tensors of all its networks."""
    place = tmp_path_factory.mktemp("snapshots") / "dataset"
    assert generate(parse(SPEC), place, workers=0, device="cpu").states == {"complete": NETWORKS}
    return place


@pytest.fixture(scope="module")
def layers(location: Path) -> list[Layer]:
    """Every row of the dataset with its tensors."""
    table = pd.read_parquet(location / "observables")
    files = {
        key: load_file(location / "snapshots" / key[0] / f"{key[1]}.safetensors")
        for key in set(zip(table.network_id, table.checkpoint, strict=True))
    }
    return [Layer(row, files[row.network_id, row.checkpoint]) for _, row in table.iterrows()]


def test_every_checkpoint_of_every_network_has_its_file_and_every_layer_its_row(
    location: Path, layers: list[Layer]
) -> None:
    assert len(layers) == ROWS
    files = sorted(
        path.relative_to(location / "snapshots") for path in (location / "snapshots").rglob("*") if path.is_file()
    )
    ids = {layer.row.network_id for layer in layers}
    assert files == sorted(Path(name, f"{i}.safetensors") for name in ids for i in range(CHECKPOINTS))


def test_a_file_holds_the_observed_layers_and_feedback_where_there_is_any(layers: list[Layer]) -> None:
    for layer in layers:
        names = {each.row.layer for each in layers if each.row.architecture == layer.row.architecture}
        expected = {f"{name}.{part}" for name in names for part in ("weight", "bias", "input", "output")} | {
            "probe.label"
        }
        if layer.row.architecture == "knet4":
            expected.remove("conv1.bias")
        if layer.row.rule == "fa":
            expected |= {f"{name}.feedback" for name in names if not name.endswith("1")}
            assert all(
                layer.tensors[n].shape == layer.tensors[n.replace("feedback", "weight")].shape
                for n in expected
                if "feed" in n
            )
        assert layer.tensors.keys() == expected, layer
        assert layer["input"].shape[0] == layer["output"].shape[0] == len(layer.tensors["probe.label"]) == PROBE


def test_outputs_follow_from_inputs_weights_and_biases(layers: list[Layer]) -> None:
    for layer in layers:
        y = layer["output"]
        np.testing.assert_allclose(
            layer.output(layer["input"], layer["weight"]), y, rtol=1e-4, atol=1e-5 * abs(y).max()
        )


def test_the_42_weight_and_activation_statistics_are_those_of_the_raw_tensors(layers: list[Layer]) -> None:
    for layer in layers:
        tensors = {"weight": layer["weight"], "activation": layer["output"]}
        each = {"weight": [statistics(layer["weight"])], "activation": [statistics(y) for y in layer["output"]]}
        for observable, (function, statistic) in product(tensors, TENSOR_STATISTICS):
            expected = float(np.mean([one[function, statistic] for one in each[observable]]))
            name = f"{observable}_{function}_{statistic}"
            least = floor(function, statistic, tensors[observable])
            assert close(layer.row[name], expected, TOLERANCE[statistic], least), (
                f"{layer} {name}: {layer.row[name]} for {expected}"
            )


def changes(terms: np.ndarray) -> Iterator[tuple[str, float, float]]:
    """Name, value and least scale of the three change statistics, from φ′ r by stimulus and unit."""
    v = terms.reshape(len(terms), -1).mean(1)
    rms = np.sqrt(np.mean(terms**2))
    for name, function in FUNCTIONS.items():
        yield name, float(function(v).mean()), 1e-3 * float(rms ** (2 if name == "change_sq" else 1))


def test_change_is_the_mean_of_slope_times_response_to_ones(layers: list[Layer]) -> None:
    for layer in layers:
        for name, expected, least in changes(layer.slope_times_response(layer["weight"])):
            assert close(layer.row[name], expected, 1e-4, least), f"{layer} {name}: {layer.row[name]} for {expected}"


def test_change_of_a_linear_fully_connected_layer_is_fan_in_times_the_mean_weight(layers: list[Layer]) -> None:
    chosen = [layer for layer in layers if layer.row.layer in ("fc3", "fc")]
    assert len(chosen) == NETWORKS * CHECKPOINTS
    for layer in chosen:
        w = layer["weight"]
        assert close(layer.row.change_raw, w.shape[1] * w.mean(), 1e-4, 1e-3 * float(np.sqrt(np.mean(w.sum(1) ** 2))))


def difference(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """Σ_j ∂y/∂x_j by central differences along the all-ones input, per stimulus and unit."""
    x, h = layer["input"], 1e-6
    return (layer.output(x + h, weight) - layer.output(x - h, weight)) / (2 * h)


def test_change_is_the_finite_difference_of_the_forward_pass_under_feedback_alignment(layers: list[Layer]) -> None:
    chosen = [layer for layer in layers if layer.row.rule == "fa"]
    assert {layer.row.layer for layer in chosen} == {"fc1", "fc2", "fc3", "conv1", "conv2", "conv3", "fc"}
    for layer in chosen:
        for name, expected, least in changes(difference(layer, layer["weight"])):
            assert close(layer.row[name], expected, 1e-4, least), f"{layer} {name}: {layer.row[name]} for {expected}"


def test_change_of_the_feedback_weights_would_be_something_else(layers: list[Layer]) -> None:
    chosen = [layer for layer in layers if f"{layer.row.layer}.feedback" in layer.tensors]
    assert {layer.row.layer for layer in chosen} == {"fc2", "fc3", "conv2", "conv3", "fc"}
    for layer in chosen:
        for name, other, least in changes(layer.slope_times_response(layer["feedback"])):
            assert not close(layer.row[name], other, 1e-4, least), f"{layer} {name}"


def test_the_loss_and_accuracy_of_a_row_follow_from_the_logits_kept(layers: list[Layer]) -> None:
    for layer in layers:
        if layer.row.layer in ("fc3", "fc"):
            logits, labels = torch.from_numpy(layer["output"]), torch.from_numpy(layer.tensors["probe.label"])
            assert layer.row.probe_loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
            assert layer.row.probe_accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())


def test_a_network_that_diverges_keeps_raw_tensors_of_those_checkpoints_alone_that_have_rows(tmp_path: Path) -> None:
    grid = '[[grid]]\ntask = "digits"\narchitecture = "mlp3"\nrule = "sgdm"\nbatch_size = 100\nepochs = 1\n'
    text = (
        'name = "d"\ncheckpoints = 8\nprobe = 16\n[snapshots]\nnetworks = 2\n' + grid + "learning_rate = [1.0, 300.0]\n"
    )
    assert generate(parse(text), tmp_path / "d", workers=0, device="cpu").states == {"complete": 1, "diverged": 1}
    kept = pd.read_parquet(tmp_path / "d" / "observables").groupby("network_id", observed=True)["checkpoint"].unique()
    assert sorted(map(len, kept)) == [kept.map(len).min(), 8]
    assert kept.map(len).min() < 8
    for network, checkpoints in kept.items():
        files = (tmp_path / "d" / "snapshots" / str(network)).iterdir()
        assert sorted(int(file.stem) for file in files) == sorted(checkpoints)
