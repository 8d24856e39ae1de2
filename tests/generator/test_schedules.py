"""The learning rate over training: by its definition, and as what a stack's update is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import member, stack

from generator.rules.schedules import SCHEDULES
from generator.spec.spec import parse


def test_a_constant_rate_is_constant() -> None:
    assert {SCHEDULES["constant"].factor(step, 10) for step in range(10)} == {1.0}
    assert SCHEDULES["constant"].scale(512) == 1


@pytest.mark.parametrize("per_epoch", [1, 3, 40])
def test_warmup_steps_is_the_published_schedule_of_100_epochs(per_epoch: int) -> None:
    steps = 100 * per_epoch
    found = [SCHEDULES["warmup-steps"].factor(step, steps) for step in range(steps)]
    warm = 5 * per_epoch
    expected = [(step + 1) / warm for step in range(warm)]
    for epochs, factor in ((25, 1), (30, 0.1), (20, 0.01), (20, 0.001)):
        expected += [factor] * (epochs * per_epoch)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 7, 19, 33])
def test_a_short_run_never_exceeds_its_rate_and_begins_above_zero(steps: int) -> None:
    found = [SCHEDULES["warmup-steps"].factor(step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in found)


def test_an_update_gets_the_scheduled_rate_and_batch_size_scales_it() -> None:
    built = stack(*(member(schedule="warmup-steps", batch_size=64, learning_rate=rate) for rate in (1.0, 2.0)))
    seen: list[torch.Tensor] = []
    built.update.step = lambda tensors, gradients, rate: seen.append(rate)  # type: ignore[method-assign]
    steps = [0, built.first.steps // 2, built.first.steps - 1]
    for step in steps:
        built.step(built.batch(step))
    base = built.first.rule.base_rate * 64 / 256
    for rate, step in zip(seen, steps, strict=True):
        factor = SCHEDULES["warmup-steps"].factor(step, built.first.steps)
        np.testing.assert_allclose(rate, [base * factor, 2 * base * factor], rtol=1e-12)


def test_a_spec_names_its_schedule_and_an_unknown_one_is_refused() -> None:
    text = 'name = "x"\n[[grid]]\ntask = "digits"\narchitecture = "mlp2"\nrule = "fa"\nschedule = ["constant", "warmup-steps"]\n'
    plain, scheduled = parse(text).networks
    assert scheduled.rate == plain.rate * 128 / 256
    assert plain.network_id != scheduled.network_id
    assert plain.stack_key != scheduled.stack_key
    with pytest.raises(Exception, match="unknown schedule 'cosine' in grid block 1; known: constant, warmup-steps"):
        parse(text.replace('"constant"', '"cosine"'))
