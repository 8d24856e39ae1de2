"""Contrastive learning: the loss by its definition, the views, the head, the read-out, and that it learns."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from oracles import gradients, member, parameters, plain, run, stack
from sklearn.linear_model import Ridge

from generator import counters
from generator.architectures.layers import Pass
from generator.curricula import augmentation
from generator.curricula.augmentation import augment
from generator.curricula.simclr import RIDGE, SimCLR, ridge_accuracy
from generator.training import loop

ARCHITECTURES = ["mlp3", "knet4", "resnet18", "resnet18v2", "alexnet"]


def nt_xent(z: np.ndarray, temperature: float = 1.0) -> float:
    """Equation 1 of Chen et al. 2020, averaged over all 2 b views, one by one; view i's partner is i + b."""
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    count, losses = len(z), []
    for i in range(count):
        partner = (i + count // 2) % count
        terms = [math.exp(z[i] @ z[j] / temperature) for j in range(count) if j != i]
        losses.append(-math.log(math.exp(z[i] @ z[partner] / temperature) / sum(terms)))
    return float(np.mean(losses))


def test_the_loss_is_nt_xent() -> None:
    outputs = torch.randn(3, 10, 7, generator=torch.Generator().manual_seed(0)).double()
    losses = SimCLR().loss(outputs, torch.zeros(3, 5, dtype=torch.int64))
    np.testing.assert_allclose(losses, [nt_xent(each.numpy()) for each in outputs], rtol=1e-12)
    same = torch.ones(1, 10, 7).double()
    assert float(SimCLR().loss(same, torch.zeros(1, 5, dtype=torch.int64))) == pytest.approx(SimCLR().chance(10, 5))


@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])
def test_both_views_pass_at_once_and_gradients_equal_a_plain_build(architecture: str) -> None:
    members = [member("sgdm", architecture, "photos", objective="simclr", model_seed=s, data_seed=s) for s in (0, 1)]
    built = stack(*members)
    batch = built.batch(0)
    views = batch._replace(x=built.objective.views(batch))
    assert views.x.shape[1] == 2 * batch.x.shape[1]
    lesson = built.pathway.learn(batch, built.objective, built.pace(0))
    for i in range(2):
        model = plain(built, i)
        z = torch.nn.functional.normalize(run(model, views, i), dim=1)
        similarity = (z @ z.T).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
        loss = torch.nn.functional.cross_entropy(similarity, torch.arange(len(z)).roll(len(z) // 2))
        assert loss.item() == pytest.approx(nt_xent(run(model, views, i).detach().numpy()), rel=1e-12)
        assert loss.item() == pytest.approx(float(lesson.losses[i]), rel=1e-10)
        expected = torch.autograd.grad(loss, parameters(model))
        for ours, theirs in zip(lesson.gradients, expected, strict=True):
            np.testing.assert_allclose(ours[i], theirs, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_head_replaces_the_readout(architecture: str) -> None:
    supervised, contrastive = (stack(member("fa", architecture, objective=o)) for o in ("supervised", "simclr"))
    names = [[layer.name for layer in each.network.layers] for each in (supervised, contrastive)]
    assert names[1] == [*names[0][:-1], "head1", "head2"]
    first, second = contrastive.network.layers[-2:]
    assert (first.nonlinearity, second.nonlinearity) == ("linear", "linear")
    assert first.bias is second.bias is None
    assert second.weight.shape[1] == 128
    assert len(contrastive.network.norms) == len(supervised.network.norms) + 2


@pytest.mark.unchecked
@pytest.mark.parametrize("rule", ["sgdm", "adam", "fa", "ia", "dfa"])
def test_every_rule_learns_to_tell_views_apart(rule: str) -> None:
    built = stack(member(rule, "mlp2", "photos", objective="simclr", batch_size=32, learning_rate=4.0))
    built.settle()
    losses = [float(built.step(built.batch(step))) for step in range(60)]
    assert losses[0] < built.objective.chance(8, 32) * 1.2
    assert np.mean(losses[-20:]) < np.mean(losses[:10]) - 0.03


def test_weights_that_explode_are_divergence_though_the_loss_stays_small() -> None:
    settings = {"objective": "simclr", "batch_size": 100, "architecture": "mlp3", "task": "photos"}
    calm, wild = (member("sgdm", **settings, learning_rate=rate) for rate in (1.0, 1e7))
    seen = list(loop.train([calm, wild], checkpoints=4, probe=16))
    assert [o.diverged_at[0] for o in seen] == [-1] * 4
    assert seen[0].diverged_at[1] == -1
    assert 0 < seen[-1].diverged_at[1] <= seen[-1].step
    assert seen[-1].probe_loss[1] < loop.EXPLODED


def test_the_heads_own_penalty_replaces_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    built, seen = stack(member("sgdm", "knet4", objective="simclr", weight_decay=0.1)), []
    monkeypatch.setattr(built.update, "step", lambda tensors, grads, rate: seen.extend(grads))
    batch = built.batch(0)
    free = built.pathway.learn(batch, built.objective, built.pace(0)).gradients
    built.step(batch)
    place = {id(p): i for i, p in enumerate(built.parameters)}
    for layer, penalty in zip(built.network.layers, [0.1, 0.1, 0.1, 1e-6, 1e-6], strict=True):
        at = place[id(layer.weight)]
        np.testing.assert_allclose(seen[at] - free[at], penalty * layer.weight.detach(), rtol=1e-6, atol=1e-15)


# -- how it is judged --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n", "d"), [(60, 9), (20, 50)])
def test_the_readout_is_ridge_regression(n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, n, d)) + 3, rng.normal(size=(2, 40, d)) + 3
    labels, truth = rng.integers(0, 4, (2, n)), rng.integers(0, 4, (2, 40))
    found = ridge_accuracy(*map(torch.from_numpy, (x, labels, t, truth)), 4)
    for i in range(2):
        penalty = RIDGE * ((x[i] - x[i].mean(0)) ** 2).sum() / d
        model = Ridge(alpha=penalty, solver="svd").fit(x[i], np.eye(4)[labels[i]])
        assert float(found[i]) == pytest.approx(np.mean(model.predict(t[i]).argmax(1) == truth[i]))


def test_a_diverged_backbone_is_right_about_nothing_and_spares_its_mates() -> None:
    rng = torch.Generator().manual_seed(0)
    x, labels = torch.randn(2, 30, 5, generator=rng), torch.randint(0, 3, (2, 30), generator=rng)
    alone = ridge_accuracy(x[:1], labels[:1], x[:1], labels[:1], 3)
    x[1, 0, 0] = torch.nan
    both = ridge_accuracy(x, labels, x, labels, 3)
    assert float(both[1]) == 0
    assert float(both[0]) == float(alone[0]) > 0.3


def test_what_is_observed_is_the_probe_set_as_it_is() -> None:
    members = [member("sgdm", "knet4", "photos", objective="simclr", batch_size=100)]
    built = stack(*members)
    built.settle()
    probe = built.probe(20)
    losses, accuracy, statistics, tensors = loop.observe(built, probe, keep=[0])
    np.testing.assert_array_equal(tensors[0]["conv1.input"], probe.x[0])
    assert tensors[0]["head2.output"].shape == (20, 128)
    assert "head2.bias" not in tensors[0]
    assert statistics.shape == (1, 1, 5, 45)
    again = loop.observe(built, probe)
    assert torch.equal(losses, again[0])
    assert torch.equal(accuracy, again[1])
    outputs = built.network.forward(built.objective.views(probe), Pass()).detach()[0].numpy()
    assert float(losses[0]) == pytest.approx(nt_xent(outputs), rel=1e-10)


def test_every_batch_of_every_data_seed_has_keys_of_its_own() -> None:
    built = stack(
        *(member(objective="simclr", batch_size=200, model_seed=m, data_seed=d) for m, d in ((0, 0), (1, 0), (0, 1)))
    )
    keys = [built.batch(step).keys.tolist() for step in range(2 * built.first.steps_per_epoch)]  # type: ignore[union-attr]
    assert all(a == b for a, b, _ in keys)  # model seeds do not enter
    assert len({key for a, _, c in keys for key in (a, c)}) == 2 * len(keys)
    assert built.batch(3).keys.tolist() == keys[3]  # type: ignore[union-attr]


# -- views -------------------------------------------------------------------------------------------------------------
def images(k: int = 2, b: int = 200, side: int = 16, channels: int = 3) -> torch.Tensor:
    smooth = torch.randn(k, b, channels, 4, 4, generator=torch.Generator().manual_seed(0)).flatten(0, 1)
    return torch.nn.functional.interpolate(smooth, side, mode="bilinear").unflatten(0, (k, b))


KEYS = torch.tensor([counters.key("one"), counters.key("two")])


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_keyed_and_a_network_gets_its_own_whatever_its_mates(channels: int) -> None:
    x = images(b=6, channels=channels)
    views = augment(x, KEYS)
    assert views.shape == x.shape
    assert torch.equal(views, augment(x, KEYS))
    np.testing.assert_allclose(augment(x[1:], KEYS[1:])[0], views[1], rtol=0, atol=1e-6)
    assert not torch.allclose(augment(x, KEYS.flip(0)), views, atol=1e-2)
    assert not torch.allclose(*(augment(x, counters.derive(KEYS, f"view {i}")) for i in (1, 2)), atol=1e-2)


def only(monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    """Switch everything random off but what is given."""
    off = {"AREA": (1.0, 1.0), "ASPECT": (1.0, 1.0), "JITTERED": 0.0, "GREY": 0.0, "BLURRED": 0.0}
    for name, value in (off | settings).items():
        monkeypatch.setattr(augmentation, name, value)


def test_of_a_whole_crop_half_of_the_views_are_mirrored_and_the_rest_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    x = images()
    views = augment(x, KEYS)
    same = torch.isclose(views, x, atol=1e-5).flatten(2).all(2)
    mirrored = torch.isclose(views, x.flip(-1), atol=1e-5).flatten(2).all(2)
    assert (same ^ mirrored).all()
    assert 0.4 < float(same.float().mean()) < 0.6


def test_a_crop_lies_inside_and_keeps_the_stated_share(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, AREA=(0.2, 1.0), ASPECT=(3 / 4, 4 / 3))
    side = 64
    ramp = torch.linspace(-1, 1, side)
    x = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side), torch.zeros(side, side)])
    views = augment(x.expand(2, 300, 3, side, side), KEYS)
    assert views.min() >= -1 - 1e-5
    assert views.max() <= 1 + 1e-5
    wide = (views[:, :, 0, 32, -2] - views[:, :, 0, 32, 1]).abs() / (ramp[-2] - ramp[1])
    high = (views[:, :, 1, -2, 32] - views[:, :, 1, 1, 32]) / (ramp[-2] - ramp[1])
    area = (wide * high).flatten()
    assert 0.15 < float(area.min()) < 0.3
    assert 0.9 < float(area.max()) <= 1.01
    assert float(area.mean()) == pytest.approx(0.6, abs=0.05)
    aspect = (wide / high).flatten()
    assert 0.7 < float(aspect.min()) < float(aspect.max()) < 1.45


def test_hue_turns_as_colorsys_does_at_full_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    red, green, blue = (np.eye(3)[i] for i in range(3))
    third = augmentation._rotation(torch.tensor([2 * math.pi / 3], dtype=torch.float64))[0].numpy()
    for before, after in ((red, green), (green, blue), (blue, red)):
        np.testing.assert_allclose(third @ before, after, atol=1e-12)
        hue = colorsys.rgb_to_hsv(*(third @ before).clip(0))[0] - colorsys.rgb_to_hsv(*before)[0]
        assert hue % 1 == pytest.approx(1 / 3)
    some = augmentation._rotation(torch.tensor([0.3]).double())[0].numpy()
    np.testing.assert_allclose(some @ some.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(some @ np.ones(3), np.ones(3), atol=1e-12)


def test_blur_is_a_gaussian_of_the_stated_width() -> None:
    side = 48
    x = torch.zeros(2, 1, side, side).double()
    x[:, 0, 24, 24] = 1
    sigma = torch.tensor([2.0, 4.0]).double()  # in pixels of an image of 224
    found = augmentation._blur(x, sigma).numpy()[:, 0]
    reach = round(0.05 * side)
    offset = np.arange(-reach, reach + 1)
    for image, width in zip(found, sigma.numpy() * side / 224, strict=True):
        kernel = np.exp(-0.5 * (offset / width) ** 2)
        kernel /= kernel.sum()
        window = image[24 - reach : 25 + reach, 24 - reach : 25 + reach]
        np.testing.assert_allclose(window, np.outer(kernel, kernel), atol=1e-12)
        assert image.sum() == pytest.approx(1)


def test_grey_and_lighting_by_their_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, GREY=1.0)
    x = images()
    views = augment(x, KEYS)
    assert torch.equal(views[:, :, 0], views[:, :, 1])
    grey = (x * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(2)
    mirrored = torch.isclose(views[:, :, 0], grey.flip(-1), atol=1e-5).flatten(2).all(2)
    assert (mirrored ^ torch.isclose(views[:, :, 0], grey, atol=1e-5).flatten(2).all(2)).all()
    one = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    lit = augmentation._lighting(one, torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 0.5]))
    np.testing.assert_allclose(lit[0], one[0])
    np.testing.assert_allclose(lit[1], one[1] + 1)
    np.testing.assert_allclose(lit[2], 0.5 * one[2] + 0.5 * one[2].mean())


def test_supervised_gradients_do_not_read_the_keys() -> None:
    built = stack(member("sgdm", "mlp2"))
    batch = built.batch(0)
    blind = built.pathway.learn(batch._replace(keys=None), built.objective, built.pace(0)).gradients
    for ours, theirs in zip(blind, gradients(plain(built), batch), strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=1e-9, atol=1e-13)
