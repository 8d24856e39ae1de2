"""Architectures against plain torch.nn builds with the same weights, and against arithmetic."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from oracles import FREE, USUAL, gradients, member, plain, run, stack, suits
from plain_networks import norms as batch_norms
from plain_networks import parameter_count
from torch import Tensor

from generator.architectures import ARCHITECTURES, family
from generator.architectures.layers import Conv, Pass, avg_pool, local_response_norm, max_pool
from generator.architectures.network import Form, InputShape, Network, measure
from generator.curricula import digits, tasks
from generator.errors import RequestError
from generator.spec import building
from generator.spec.spec import parse
from generator.training.stack import Stack

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
every_one = pytest.mark.parametrize("architecture", [*ARCHITECTURES, *FREE])


@pytest.mark.parametrize("task", ["digits", "photos"])
@pytest.mark.parametrize(
    ("architecture", "nonlinearity"),
    [(name, phi) for name in [*ARCHITECTURES, *FREE] for phi in ("relu", "tanh") if suits("bp", name, phi)],
)
def test_forward_pass_and_gradients_equal_a_plain_build(architecture: str, task: str, nonlinearity: str) -> None:
    built = stack(*(member("sgdm", architecture, task, nonlinearity=nonlinearity, model_seed=s) for s in (0, 1)))
    batch, models = built.batch(0), [plain(built, i) for i in range(2)]
    found = built.pathway.learn(batch, built.objective, built.pace(0)).gradients
    outputs = built.network.forward(batch.x, Pass(training=True, keys=batch.keys)).detach()
    for i, model in enumerate(models):
        np.testing.assert_allclose(outputs[i], run(model, batch, i).detach(), rtol=1e-9, atol=1e-12)
        for actual, answer in zip(found, gradients(model, batch, i), strict=True):
            np.testing.assert_allclose(actual[i], answer, rtol=1e-9, atol=1e-13)


@every_architecture
def test_evaluation_equals_a_plain_build_that_saw_the_same_batches(architecture: str) -> None:
    built = stack(*(member("sgdm", architecture, model_seed=s, data_seed=s) for s in (0, 1)))
    models = [plain(built, i) for i in range(2)]
    built.settle()
    for step in (1, 2, 3):
        built.pathway.learn(built.batch(step), built.objective, built.pace(0))
    probe = built.probe(9)
    outputs = built.network.forward(probe.x, Pass()).detach()
    for i, model in enumerate(models):
        norms = batch_norms(model)
        for step, momentum in enumerate((1.0, 0.1, 0.1, 0.1)):
            for norm in norms:
                norm.momentum = momentum
            run(model, built.batch(step), i)
        np.testing.assert_allclose(outputs[i], model.eval()(probe.x[i]).detach(), rtol=1e-9, atol=1e-12)
        by_batch = run(model.train(), probe, i).detach()
        assert (bool(norms) or architecture.startswith("alexnet")) != np.allclose(outputs[i], by_batch, rtol=1e-2)
    assert bool(built.network.norms) == (architecture in {"knet4", "knet5"} or architecture.startswith("resnet"))


@every_one
def test_evaluation_leaves_running_statistics_alone_and_ignores_the_rest_of_the_batch(architecture: str) -> None:
    built = stack(member("sgdm", architecture))
    built.settle()
    probe = built.probe(8)
    whole = built.network.forward(probe.x, Pass()).detach()
    part = built.network.forward(probe.x[:, :3], Pass()).detach()
    np.testing.assert_allclose(whole[:, :3], part, rtol=1e-9, atol=1e-12)


def test_layers_and_weights_are_those_of_the_arithmetic() -> None:
    names = ("mlp2", "mlp3", "knet4", "knet4lrn", "vnn3")
    sizes = {name: [(s.name, s.weights, s.units) for s in member("sgdm", name, width=1.0).sizes] for name in names}
    macs = {name: [s.macs for s in member("sgdm", name, width=1.0).sizes] for name in names}
    assert macs["vnn3"] == [64 * 1280, 128 * 1280, 128 * 10]
    assert macs["knet4"] == [n * p for (_, n, _), p in zip(sizes["knet4"], (16**2, 8**2, 4**2, 1), strict=True)]
    knet = [
        ("conv1", 32 * 1 * 25, 32 * 16 * 16),
        ("conv2", 32 * 32 * 25, 32 * 8 * 8),
        ("conv3", 64 * 32 * 25, 64 * 4 * 4),
        ("fc", 10 * 64 * 2 * 2, 10),
    ]
    assert sizes == {
        "mlp2": [("fc1", 64 * 128, 128), ("fc2", 128 * 10, 10)],
        "mlp3": [("fc1", 64 * 128, 128), ("fc2", 128 * 128, 128), ("fc3", 128 * 10, 10)],
        "knet4": knet,
        "knet4lrn": knet,
        "vnn3": [("fc1", 64 * 1280, 1280), ("fc2", 128 * 128, 1280), ("fc3", 128, 10)],
    }


LAYERS = {"mlp2": 2, "mlp3": 3, "knet4": 4, "knet4lrn": 4, "knet5": 5, "knet5lrn": 5, "alexnet": 8, "alexnetlrn": 8}
LAYERS |= {"resnet18": 22, "resnet18v2": 22, "resnet34": 38, "resnet34v2": 38, "vnn2": 2, "vnn3": 3}


def built_at(architecture: str, pixels: int, classes: int, form: Form) -> Network:
    """One network at full size, its weights untouched."""
    return family(architecture)(
        InputShape(3, pixels, classes), form, lambda purpose, layer, dims: torch.zeros(1, *dims)
    )


@pytest.mark.parametrize(
    ("architecture", "head"),
    [*((name, "classes") for name in ARCHITECTURES), *((name, "projection") for name in USUAL)],
)
def test_full_size_networks_have_the_published_layers_and_parameters(architecture: str, head: str) -> None:
    pixels, classes = (224, 1000) if architecture.startswith(("alexnet", "resnet")) else (32, 10)
    network = built_at(architecture, pixels, classes, Form(head=head))
    assert len(network.layers) == LAYERS[architecture] + (head == "projection")
    total = sum(p.numel() for p in network.parameters())
    if not architecture.startswith("mlp"):
        shape = {"channels": 3, "pixels": pixels, "classes": classes}
        assert total == parameter_count(architecture, **shape, head=head)
    if (architecture, head) == ("resnet18", "classes"):
        assert total == 11_693_736


@every_one
def test_layers_run_in_the_order_in_which_they_are_listed(architecture: str) -> None:
    built, ran = stack(member("sgdm", architecture)), []
    for layer in built.network.layers:
        layer.forward = lambda *arguments, kept=layer: ran.append(kept) or type(kept).forward(kept, *arguments)  # type: ignore[method-assign]
    built.network.forward(built.probe(2).x, Pass())
    assert ran == built.network.layers


@pytest.mark.parametrize("architecture", ["alexnet", "resnet18", "resnet34v2"])
def test_a_large_stem_on_a_small_image_is_refused(architecture: str) -> None:
    text = f'name = "x"\n[[grid]]\ntask = "photos"\narchitecture = "{architecture}"\nrule = "fa"\nstem = "large"\n'
    with pytest.raises(RequestError, match=r"taps could never learn; use a larger input .* or a smaller stem"):
        parse(text)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 3, 5, 7, 11])
def test_a_convolution_is_refused_exactly_if_a_tap_meets_only_padding(size: int, stride: int) -> None:
    for side in range(1, 14):
        layer = Conv("c", 1, 1, size, "linear", lambda purpose, name, dims: torch.ones(1, *dims), stride=stride)
        reached = [
            any(0 <= o * stride + tap - size // 2 < side for o in range(-(-side // stride))) for tap in range(size)
        ]
        x = torch.ones(1, 1, 1, side, side)
        if all(reached):
            assert layer(x, Pass()).shape[-1] == -(-side // stride)
        else:
            with pytest.raises(RequestError, match="never learn"):
                layer(x, Pass())


@pytest.mark.parametrize("side", [7, 8, 9])
@pytest.mark.parametrize(("size", "stride"), [(1, 2), (3, 2), (5, 3), (7, 2), (11, 4)])
def test_a_strided_convolution_sends_the_error_down_as_autograd_does(size: int, stride: int, side: int) -> None:
    rng = torch.Generator().manual_seed(0)
    layer = Conv(
        "c", 2, 3, size, "linear", lambda p, n, dims: torch.randn(2, *dims, generator=rng).double(), stride=stride
    )
    x = torch.randn(2, 4, 2, side, side, generator=rng).double().requires_grad_()
    weight = layer.weight.requires_grad_()
    y = torch.stack([torch.nn.functional.conv2d(x[i], weight[i], **layer.how) for i in range(2)])
    error = torch.randn(y.shape, generator=rng).double()
    below, gradient = torch.autograd.grad(y, [x, weight], error)
    np.testing.assert_allclose(layer.backproject(error, weight.detach(), x.detach()), below, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.correlate(x.detach(), error), gradient, rtol=1e-11, atol=1e-11)


@every_architecture
def test_trained_tensors_are_weights_biases_and_batch_norms_scale_and_shift(architecture: str) -> None:
    built = stack(member("sgdm", architecture))
    units = [len(layer.weight[0]) for layer in built.network.layers]
    biases = units[-1] if architecture.startswith("resnet") else sum(units)
    biases *= 10 if architecture.startswith("vnn") else 1  # components
    biases -= units[0] if architecture in ("knet4", "knet5") else 0  # in front of batch norm
    weights = sum(s.weights for s in built.first.sizes)
    norms = 2 * sum(norm.weight.shape[1] for norm in built.network.norms)
    assert sum(p[0].numel() for p in built.parameters) == weights + biases + norms


@pytest.mark.parametrize(
    ("architecture", "objective", "rule"),
    [
        *itertools.product([*USUAL, *FREE], ["supervised", "simclr"], ["sgdm", "fa", "dfa"]),
        *itertools.product(["vnn2", "vnn3"], ["supervised"], ["sgdm", "gevb"]),
    ],
)
def test_everything_that_is_trained_has_a_gradient(architecture: str, objective: str, rule: str) -> None:
    """A bias in front of batch norm has none but rounding, which Adam makes as large as any other."""
    built = stack(member(rule, architecture, "photos", objective=objective, batch_size=12))
    built.settle()
    gradients = built.pathway.learn(built.batch(0), built.objective, built.pace(0)).gradients
    largest = max(float(g.abs().max()) for g in gradients)
    for tensor, gradient in zip(built.parameters, gradients, strict=True):
        assert float(gradient.abs().max()) > 1e-9 * largest, tuple(tensor.shape)


@pytest.mark.parametrize("architecture", USUAL)
def test_initial_weights_follow_he_and_the_last_layer_its_fan_in(architecture: str) -> None:
    built = stack(member("sgdm", architecture))
    for layer in built.network.layers:
        w = layer.weight[0].detach()
        variance = (1 if layer is built.network.layers[-1] else 2) / w[0].numel()
        assert float(w.std()) == pytest.approx(math.sqrt(variance), rel=5 / math.sqrt(w.numel()))
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("architecture", USUAL)
def test_nonlinearities_belong_to_the_layers_they_follow_directly(architecture: str) -> None:
    built = stack(member("sgdm", architecture, nonlinearity="tanh"))
    linear = [layer.name for layer in built.network.layers if layer.nonlinearity == "linear"]
    names = [layer.name for layer in built.network.layers]
    expected = {"knet": ["conv1", "fc"], "alex": ["fc8"], "resn": names}
    assert linear == expected.get(architecture[:4], names[-1:])
    quiet, run = Pass(), Pass(drives=(drives := []))  # a pass that keeps W x computes the same
    assert torch.equal(*(built.network.forward(built.probe(4).x, each) for each in (quiet, run)))
    for layer, a, y in zip(built.network.layers, drives, run.outputs, strict=True):  # initial biases are 0
        assert torch.equal(y, a if layer.name in linear else torch.tanh(a))


def windows(x: np.ndarray, empty: float) -> np.ndarray:
    """The 3×3 windows at stride 2 of maps (…, s, s) padded on the right with `empty`, (…, ⌈s/2⌉, ⌈s/2⌉, 9)."""
    side = -(-x.shape[-1] // 2)
    padded = np.full((*x.shape[:-2], 2 * side + 1, 2 * side + 1), empty)
    padded[..., : x.shape[-2], : x.shape[-1]] = x
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(-2, -1))[..., ::2, ::2, :, :]
    return view.reshape(*view.shape[:-2], 9)


@pytest.mark.parametrize("side", [16, 8, 7, 5, 4, 3, 2])
def test_pools_halve_sides_and_leave_the_padding_out(side: int) -> None:
    x = np.random.default_rng(side).normal(size=(2, 3, 4, side, side)) - 3.0
    largest, mean = max_pool(torch.from_numpy(x)).numpy(), avg_pool(torch.from_numpy(x)).numpy()
    assert largest.shape == mean.shape == (2, 3, 4, side // 2, side // 2)
    whole = (
        ...,
        slice(side // 2),
        slice(side // 2),
        slice(None),
    )  # the last window of an odd side would begin at its end
    np.testing.assert_array_equal(largest, windows(x, -np.inf)[whole].max(-1))
    np.testing.assert_allclose(mean, np.nanmean(windows(x, np.nan)[whole], axis=-1), rtol=1e-12)


def test_local_response_norm_is_pytorchs_with_its_alpha_times_the_window() -> None:
    x = 30 * torch.randn(2, 3, 12, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = local_response_norm(x, radius=3, bias=1.0, alpha=5e-5, beta=0.75)
    theirs = torch.nn.functional.local_response_norm(x.flatten(0, 1), 7, alpha=7 * 5e-5, beta=0.75, k=1.0)
    np.testing.assert_allclose(ours, theirs.view_as(x), rtol=1e-12)
    c = 5
    expected = x[:, :, c] / (1 + 5e-5 * x[:, :, c - 3 : c + 4].square().sum(2)) ** 0.75
    np.testing.assert_allclose(ours[:, :, c], expected, rtol=1e-12)


def normal(purpose: str, layer: str, shape: tuple[int, ...]) -> Tensor:
    return torch.randn((1, *shape), dtype=torch.float64)


@pytest.mark.parametrize(("size", "stride", "side"), [(1, 2, 16), (1, 2, 4), (3, 2, 16), (3, 1, 8), (5, 1, 8)])
@pytest.mark.parametrize("channels", [(1, 2), (2, 4), (4, 8), (8, 16)])
def test_products_of_few_channels_in_float32_are_those_of_float64(
    size: int, stride: int, side: int, channels: tuple[int, int]
) -> None:
    """A library's kernels for float32 and channels that lie last are others than those for float64."""
    (c_in, c_out), layer = channels, Conv("conv", *channels, size, "linear", normal, stride=stride)
    for _ in range(40):
        x = torch.randn(1, 50, c_in, side, side)
        weight = torch.randn(1, c_out, c_in, size, size)
        error = torch.randn(1, 50, c_out, -(-side // stride), -(-side // stride))
        x, error = (one[0].to(memory_format=torch.channels_last)[None] for one in (x, error))
        single, double = (
            [layer.forward(x, w, None), layer.backproject(e, w, x), layer.correlate(x, e)]
            for x, w, e in ((x, weight, error), (x.double(), weight.double(), error.double()))
        )
        for found, exact in zip(single, double, strict=True):
            torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-3)


def test_a_kernel_larger_than_its_input_can_use_is_refused() -> None:
    layer = Conv("conv", 2, 3, 5, "linear", normal)
    assert layer(torch.ones(1, 1, 2, 3, 3, dtype=torch.float64), Pass()).shape == (1, 1, 3, 3, 3)
    with pytest.raises(RequestError, match="5×5 kernel on a 2×2 input"):
        layer(torch.ones(1, 1, 2, 2, 2, dtype=torch.float64), Pass())


@pytest.mark.parametrize("architecture", ["knet4", "knet4lrn"])
def test_a_spec_with_too_small_an_input_is_refused_and_sixteen_pixels_are_the_default(architecture: str) -> None:
    text = f'name = "x"\n[[grid]]\ntask = "digits"\narchitecture = "{architecture}"\nrule = "sgdm"\n'
    assert [network.pixels for network in parse(text).networks] == [16]
    with pytest.raises(RequestError, match="kernel"):
        parse(text + "pixels = 8\n")


def test_knets_take_whatever_side_their_kernels_can_use() -> None:
    network = family("knet4lrn")(InputShape(1, 24, 10), Form(), normal)
    run = Pass()
    network.forward(torch.ones(1, 1, 1, 24, 24, dtype=torch.float64), run)
    assert [x.shape[-1] for x in run.received] == [24, 12, 6, 64 * 3 * 3]


# The smallest side at which every tap of every kernel meets the input: ⌊side / 4⌋ ≥ 3, ⌊⌈side / 4⌉ / 4⌋ ≥ 2, ⌈side / 32⌉ ≥ 2, …
SMALLEST = {"knet4": 12, "knet4lrn": 12, "knet5": 24, "knet5lrn": 24, "alexnet large": 29, "alexnetlrn large": 29}
SMALLEST |= {f"resnet{kind} large": 33 for kind in ("18", "18v2", "34", "34v2")}


@pytest.mark.parametrize("stem", ["small", "large"])
@every_architecture
def test_every_side_works_from_the_smallest_on(architecture: str, stem: str) -> None:
    form = Form(width=1 / 64, stem=stem)
    smallest = SMALLEST.get(f"{architecture} {stem}", SMALLEST.get(architecture, 1))
    sides = range(12, 65, 13 if architecture.startswith("resnet") else 1)  # whose read-out takes means over any side
    for pixels in sides if stem == "small" or ARCHITECTURES[architecture].stems else ():
        shape, x = InputShape(1, pixels, 3), torch.ones(1, 2, 1, pixels, pixels)
        network = family(architecture)(shape, form, lambda purpose, layer, dims: torch.ones(1, *dims))
        if pixels < smallest:
            with pytest.raises(RequestError, match="taps could never learn; use a larger input"):
                network.forward(x, Pass())
        else:
            assert network.forward(x, Pass()).shape == (1, 2, 3)


@pytest.mark.parametrize("architecture", ["knet5", "alexnetlrn", "resnet18"])
@pytest.mark.parametrize("pixels", [28, 31])
def test_gradients_at_an_odd_side_equal_a_plain_build(
    architecture: str, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        digits, "_upsample", lambda images, factor: images.repeat(4, 1).repeat(4, 2)[:, :pixels, :pixels]
    )
    tasks.load.cache_clear()
    built = stack(member("sgdm", architecture, pixels=pixels, width=1 / 32))
    tasks.load.cache_clear()
    batch, model = built.batch(0), plain(built)
    found = built.pathway.learn(batch, built.objective, built.pace(0)).gradients
    for actual, answer in zip(found, gradients(model, batch), strict=True):
        np.testing.assert_allclose(actual[0], answer, rtol=1e-9, atol=1e-13)


def test_only_a_lack_of_memory_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'name = "x"\n[[grid]]\ntask = "digits"\narchitecture = "mlp2"\nrule = "sgdm"\n'
    for cause, sentence in (
        (lambda *_: torch.zeros(1 << 50), "one such network does not fit into memory"),
        (lambda *_: torch.zeros(1 << 40, 1 << 40), "one such network does not fit into memory"),
        (lambda *_: torch.zeros(2, 3) @ torch.zeros(2, 3), "shapes cannot be multiplied"),
    ):
        monkeypatch.setattr(building, "measure", cause)
        with pytest.raises(RequestError, match=f"mlp2 on digits at 8 px: .*{sentence}"):
            parse(text)
    monkeypatch.undo()
    vast = text.replace('"mlp2"', '{name = "mlp", depth = 12, taper = 1.5}') + "width = 64.0\n"
    with pytest.raises(RequestError, match=r"at 8 px: one such network does not fit into memory"):
        parse(vast)


@pytest.mark.parametrize("architecture", ["mlp3", "knet4", "resnet18"])
@pytest.mark.parametrize("rule", ["sgdm", "fa", "ia"])
def test_bfloat16_rounds_the_factors_of_products_and_keeps_everything_else(rule: str, architecture: str) -> None:
    fine, coarse = (Stack([member(rule, architecture, batch_size=50, precision=p)]) for p in ("float32", "bfloat16"))
    batch = fine.batch(0)
    lessons = [each.pathway.learn(batch, each.objective, each.pace(0)) for each in (fine, coarse)]
    for a, b in zip(lessons[0].gradients, lessons[1].gradients, strict=True):
        assert b.dtype == torch.float32
        assert not torch.equal(a, b) or not a.any()
    place = next(i for i, p in enumerate(fine.parameters) if p is fine.network.layers[-1].weight)
    heads = [lesson.gradients[place] for lesson in lessons]
    assert float((heads[0] - heads[1]).norm() / heads[0].norm()) < 0.05
    assert float(lessons[0].losses) == pytest.approx(float(lessons[1].losses), rel=0.02)
    layer, run = coarse.network.layers[0], Pass(training=True)
    coarse.network.forward(batch.x, run)
    x, w = (t.detach().bfloat16().double() for t in (run.received[0], layer.weight))
    bias = None if layer.bias is None else layer.bias.detach().double()
    expected = layer.phi.phi(layer.forward(x, w, bias)).detach()
    spread = float(expected.abs().max())
    np.testing.assert_allclose(run.outputs[0].detach(), expected, rtol=2**-8, atol=2**-8 * spread)
    assert all(p.dtype == torch.float32 for p in coarse.parameters)


# -- vector units --------------------------------------------------------------------------------------------------------
def test_pairs_of_vector_units_begin_as_networks_of_weights_of_both_signs() -> None:
    """Both of a pair are open for the same stimuli and put out y and −y; what reads them has weights of variance 4 / inputs."""
    built = stack(member("sgdm", "vnn3", batch_size=50))
    first, second, last = built.network.layers
    run = Pass(training=True)
    built.network.forward(built.batch(0).x, run)
    for y in run.outputs[:2]:
        assert torch.allclose(y[:, :, ::2], -y[:, :, 1::2], atol=1e-12)
        assert 0.4 < float((y != 0).double().mean()) < 0.6
    assert torch.equal(first.gate[:, ::2], -first.gate[:, 1::2])
    assert float(first.gate.abs().min()) == float(first.gate.abs().max()) == 1
    assert float(first.weight.detach().std()) == pytest.approx(1 / 8, rel=0.02)
    for layer in (second, last):
        assert layer.weight.shape[2] == 128
        both = (layer.weight[:, :, ::2] - layer.weight[:, :, 1::2]).detach()
        assert float(both.std()) == pytest.approx(2 / 128**0.5, rel=0.2)
        assert bool((layer.weight.detach() >= 0).all())
        assert float((layer.weight == 0).double().mean()) == 0.5
        assert float(layer.weight.detach().square().mean().sqrt()) == pytest.approx(layer.scale, rel=0.2)
    mixed = (second.weight[:, ::2, ::2] - second.weight[:, ::2, 1::2]).detach()
    a = torch.einsum("kmn,kbnc->kbmc", mixed, run.outputs[0][:, :, ::2].detach())
    opened = run.outputs[1][:, :, ::2] != 0
    np.testing.assert_allclose(run.outputs[1][:, :, ::2].detach(), a * opened, atol=1e-12)


def test_vector_units_are_rescaled_without_effect() -> None:
    built = stack(member("sgdm", "vnn3"))
    for step in range(3):
        built.step(built.batch(step))
    x = built.probe(8).x
    before = built.network.forward(x, Pass()).detach()
    pairs = built.network.rescalable()
    assert len(pairs) == 2
    with torch.no_grad():
        for one, reader in pairs:
            one.weight[:, 5].mul_(3.0)
            one.bias.unflatten(1, (128, 10))[:, 5].mul_(3.0)
            reader.weight[:, :, 5].div_(3.0)
    np.testing.assert_allclose(built.network.forward(x, Pass()).detach(), before, rtol=1e-9)


@pytest.mark.parametrize("width", [0.001, 0.02, 0.03, 1.0])
def test_vector_units_come_in_pairs_at_any_width(width: float) -> None:
    sizes = member("sgdm", "vnn3", width=width).sizes
    assert [s.units for s in sizes] == [20 * max(1, round(64 * width))] * 2 + [10]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ('objective = "simclr"', "its output is a component per class, so it learns no objective without classes"),
        ('nonlinearity = "tanh"', 'its units are gated, for which nonlinearity = "relu" stands, not "tanh"'),
    ],
)
def test_what_vector_units_cannot_be_is_refused(more: str, sentence: str) -> None:
    text = f'name = "x"\n[[grid]]\ntask = "digits"\narchitecture = "vnn2"\nrule = "sgdm"\n{more}\n'
    with pytest.raises(RequestError) as caught:
        parse(text)
    assert str(caught.value) == f"grid block 1: vnn2 on digits at 8 px: {sentence}"


def test_vast_vector_units_are_measured_without_any_memory() -> None:
    sizes = measure(family("vnn3"), InputShape(3, 224, 1000), Form(width=64.0))
    assert [s.weights for s in sizes] == [3 * 224**2 * 8192 * 1000, 8192**2, 8192]
