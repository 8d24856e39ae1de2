"""Networks that learn in compiled code: the same numbers as in stacks, whoever else is there, and a record of which it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from oracles import member, stack

from generator import rules
from generator.dataset.storage import Dataset
from generator.running.generate import generate
from generator.running.inflight import Inflight
from generator.running.merge import merge
from generator.running.rerun import rerun
from generator.running.verify import problems
from generator.spec import compiling, planning
from generator.spec.network import NetworkSpec
from generator.spec.planning import form_cohorts
from generator.spec.spec import parse
from generator.training import compiled, loop
from generator.training.stack import Stack

RULES = ("sgdm", "adam", "fa", "ia", "sgd", "nesterov", "rmsprop", "adamw", "lion", "ia+adam", "fa+rmsprop")
TINY = 'name = "x"\ncheckpoints = 3\nprobe = 16\n'
GRID = (
    '[[grid]]\ntask = "digits"\narchitecture = "{}"\nrule = {}\nepochs = 1\nbatch_size = 100\nwidth = 0.1\nseeds = 2\n'
)
BOTH = GRID.format("mlp3", '["sgdm", "ia"]') + GRID.format("convnet(depth=3)", '"sgdm"')


@pytest.fixture
def worth_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even small runs are compiled."""
    monkeypatch.setattr(compiling, "WORTH", 1.0)


def learned(members: Sequence[NetworkSpec], updates: int, **how: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Losses (updates, k) and the state, after so many."""
    with closing(Stack(members, **how)) as built:
        losses: list[torch.Tensor] = []
        while len(losses) < updates:
            losses += built.learn(len(losses), updates)
        return torch.stack(losses).numpy(), built.state()


def assert_close(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(
            ours[name], array, rtol=tolerance, atol=tolerance * np.abs(array).max(), err_msg=name
        )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_every_rule_learns_what_a_stack_in_double_precision_does(rule: str, depth: int) -> None:
    """Rates, decay and orders of the networks' own, and a schedule; layers of unlike sizes."""
    settings = {"weight_decay": 0.05, "schedule": "warmup-steps", "batch_size": 20, "width": 0.3}
    architecture = "mlp2" if depth == 2 else f"mlp(depth={depth})"
    members = [
        member(rule, architecture, model_seed=s, data_seed=s, learning_rate=0.5 + s, **settings) for s in range(3)
    ]
    assert all(map(compiling.suits, members))
    losses, state = learned(members, 12, compiled=True)
    expected, exact = learned(members, 12, dtype=torch.float64)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    rough = rule.endswith(("adam", "adamw", "rmsprop"))  # a gradient of nearly 0 makes a whole step
    assert_close(state, exact, 2e-3 if rough else 1e-4)


@pytest.mark.parametrize("nonlinearity", compiling.NONLINEARITIES)
def test_every_nonlinearity_is_that_of_a_stack(nonlinearity: str) -> None:
    members = [member("fa", "mlp(depth=4)", nonlinearity=nonlinearity, batch_size=50, model_seed=s) for s in range(2)]
    losses, state = learned(members, 10, compiled=True)
    expected, exact = learned(members, 10, dtype=torch.float64)
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    assert_close(state, exact, 1e-4)


def test_nonlinearities_are_right_to_the_last_digits() -> None:
    from generator.training import kernel

    at = np.concatenate([np.linspace(-100, 100, 4001), np.geomspace(1e-6, 1, 500), -np.geomspace(1e-6, 1, 500)])
    at = at.astype(np.float32)
    exact = at.astype(np.float64)
    answers = {
        "TANH": np.tanh(exact), "SIGMOID": 1 / (1 + np.exp(-exact)), "ELU": np.where(exact > 0, exact, np.expm1(exact)),
        "RELU": np.maximum(exact, 0), "LEAKY": np.where(exact > 0, exact, 0.01 * exact), "LINEAR": exact,
    }  # fmt: skip
    for name, expected in answers.items():
        y, q, power = np.empty_like(at), np.empty_like(at), np.empty(at.size, np.int32)
        kernel._activate(y, at, np.zeros(1, np.float32), at.size, 1, getattr(kernel, name), q, power)
        np.testing.assert_allclose(y, expected, rtol=4e-7, atol=1e-38, err_msg=name)


def test_sign_descent_moves_as_a_stack_does() -> None:
    """Where a gradient is 0 but for rounding, its sign is anything: most weights are compared."""
    members = [member("sign_sgd", batch_size=50)]
    _, ours = learned(members, 3, compiled=True)
    _, theirs = learned(members, 3)
    for name, array in theirs.items():
        assert np.mean(np.isclose(ours[name], array, rtol=1e-5, atol=1e-7)) > 0.97, name


def test_networks_of_several_rules_are_handed_over_each_with_its_own() -> None:
    members = [member(rule, model_seed=seed, batch_size=50) for rule in ("sgdm", "fa", "adam") for seed in range(2)]
    _, ours = learned(members, 8, compiled=True)
    _, theirs = learned(members, 8, dtype=torch.float64)
    for layer in range(1, 3):  # what follows W is written only by a stack's own pass
        ours[f"stack.layers.{layer}.feedback"][[0, 1, 4, 5]] = theirs[f"stack.layers.{layer}.feedback"][[0, 1, 4, 5]]
    assert_close(ours, theirs, 2e-3)


def test_a_network_learns_the_same_alone_and_in_pieces_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [member("adam", model_seed=seed, batch_size=50) for seed in range(3)]
    losses, state = learned(members, 20, compiled=True)
    alone_losses, alone = learned(members[1:2], 20, compiled=True)
    np.testing.assert_array_equal(losses[:, 1:2], alone_losses)
    for name, array in alone.items():
        np.testing.assert_array_equal(state[name][1:2] if array.ndim else state[name], array, err_msg=name)
    monkeypatch.setattr(compiled, "SECONDS", 1e-9)
    again, pieces = learned(members, 20, compiled=True)
    np.testing.assert_array_equal(losses, again)
    for name, array in state.items():
        np.testing.assert_array_equal(pieces[name], array, err_msg=name)


def test_what_diverges_is_dated_as_in_a_stack() -> None:
    members = [member(learning_rate=300.0, batch_size=100), member(batch_size=100)]
    ours, theirs = ([*loop.train(members, 4, 16, compiled=how)] for how in (True, False))
    assert [list(o.diverged_at) for o in ours] == [list(o.diverged_at) for o in theirs]
    assert ours[-1].diverged_at[0] > 0
    np.testing.assert_allclose([o.train_loss[1] for o in ours], [o.train_loss[1] for o in theirs], rtol=1e-4)


def test_a_weight_that_is_no_number_is_not_hidden_by_the_nonlinearity() -> None:
    for nonlinearity in compiling.NONLINEARITIES:
        with closing(Stack([member(nonlinearity=nonlinearity)], compiled=True)) as built:
            built.network.layers[0].weight.detach()[0, 0, 0] = float("nan")
            assert built.learn(0, 1)[0].isnan().all(), nonlinearity


def test_stimuli_that_are_read_ahead_are_learned_from_too(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [member("fa", batch_size=50, data_seed=seed) for seed in range(2)]
    losses, state = learned(members, 6, compiled=True)
    with closing(Stack(members, compiled=True)) as built:
        assert built.compiled is not None
        built.compiled.images = None
        again = [built.learn(step, 6)[0] for step in range(6)]
        np.testing.assert_array_equal(torch.stack(again).numpy(), losses)
        for name, array in built.state().items():
            np.testing.assert_array_equal(array, state[name], err_msg=name)


@pytest.mark.parametrize(
    "other",
    [
        {"architecture": "convnet(depth=3)"},
        {"architecture": "mlp(depth=3,norm=layer)"},
        {"architecture": "mlp(depth=3,residual=true)"},
        {"nonlinearity": "gelu"},
        {"precision": "bfloat16"},
        {"objective": "simclr"},
        {"rule": "kolen_pollack"},
        {"rule": "muon"},
    ],
    ids=str,
)
def test_what_is_not_written_there_is_left_to_stacks(other: dict[str, Any], worth_while: None) -> None:
    one = member(**other)
    assert not compiling.suits(one)
    ((cohort, _),) = form_cohorts([one])
    assert cohort.compiled, "what is measured of it is"
    with closing(Stack([one], compiled=True)) as built:
        assert built.compiled is None
        assert built.kernels == "compiled"


def test_a_rule_that_derives_from_one_of_them_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(rules.PATHWAYS["fa"]):  # type: ignore[misc]
        """Somebody's own."""

    monkeypatch.setitem(rules.PATHWAYS, "fa", Mine)
    assert not compiling.suits(member("fa"))


def test_a_short_run_does_not_wait_for_a_compiler_and_a_long_one_gains() -> None:
    few = [member(rule) for rule in ("sgdm", "ia")]
    assert sum(one.flops for one in few) < compiling.WORTH
    assert not any(cohort.compiled for cohort, _ in form_cohorts(few))
    long = [replace(one, epochs=10**6) for one in [*few, member(nonlinearity="gelu")]]
    assert all(cohort.compiled for cohort, _ in form_cohorts(long))
    assert not any(cohort.compiled for cohort, _ in form_cohorts(long, "cuda"))
    parsed = parse(TINY + BOTH)
    assert planning.cost(few, parsed, compiled=True) < 0.7 * planning.cost(few, parsed)


def test_a_dataset_says_which_it_was_and_goes_on_and_repeats_so(tmp_path: Path, worth_while: None) -> None:
    dataset = Dataset(tmp_path / "x")
    generate(parse(TINY + BOTH), tmp_path / "x", workers=0)
    assert problems(dataset) == []
    assert all(cohort.compiled for cohort in dataset.cohorts())
    rows = pd.read_parquet(tmp_path / "x" / "networks")
    assert all("numba" in json.loads(text) for text in rows["versions"].astype(str))
    for network in rows.groupby("family")["network_id"].first():
        assert rerun(tmp_path / "x", network).difference == 0
    # what is recorded stays, whatever would be chosen now
    compiling.WORTH = 1e30
    lost = next(file for file in (tmp_path / "x" / "observables").iterdir() if file.name.startswith("ia"))
    before = lost.read_bytes()
    lost.unlink()
    assert generate(parse(TINY + BOTH), tmp_path / "x", workers=0).done_now == 4
    assert lost.read_bytes() == before


def test_a_dataset_from_before_goes_on_in_stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(parse(TINY + BOTH), tmp_path / "x", workers=0)
    assert not any(cohort.compiled for cohort in Dataset(tmp_path / "x").cohorts())
    lost = next(file for file in (tmp_path / "x" / "observables").iterdir() if file.name.startswith("ia"))
    before = lost.read_bytes()
    lost.unlink()
    monkeypatch.setattr(compiling, "WORTH", 1.0)
    generate(parse(TINY + BOTH), tmp_path / "x", workers=0)
    assert lost.read_bytes() == before


def test_a_cohort_kept_on_its_way_goes_on_bit_for_bit(tmp_path: Path) -> None:
    members = [member(rule, batch_size=100, model_seed=seed) for rule in ("ia",) for seed in range(2)]
    undisturbed = [*loop.train(members, 4, 16, compiled=True)]
    kept, seen = Inflight(Dataset(tmp_path), "c.safetensors", {}), []
    kept.flushed = -1e9
    with closing(Stack(members, compiled=True)) as built:
        built.settle()
        for one in loop.go_on(built, [], 4, 16):
            seen.append(replace(one, snapshots={}))
            if len(seen) == 2:
                kept.flush(built, seen)
                break
    with closing(Stack(members, compiled=True)) as other:
        found = Inflight(Dataset(tmp_path), "c.safetensors", {}).restore(other)
        assert len(found) == 2
        found += loop.go_on(other, list(found), 4, 16)
    assert len(found) == len(undisturbed)
    for one, same in zip(found, undisturbed, strict=True):
        np.testing.assert_array_equal(one.statistics, same.statistics)


def test_datasets_that_were_made_in_either_way_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(parse(TINY + BOTH), tmp_path / "stacked", workers=0)
    monkeypatch.setattr(compiling, "WORTH", 1.0)
    generate(parse(TINY + GRID.format("mlp2", '"fa"')), tmp_path / "compiled", workers=0)
    generate(parse(TINY + GRID.format("mlp3", '["sgdm"]')), tmp_path / "again", workers=0)
    both = merge(tmp_path / "both", [tmp_path / name for name in ("stacked", "compiled", "again")])
    assert problems(both) == []
    assert sorted(cohort.compiled for cohort in both.cohorts()) == [False, False, True, True]


def test_only_float32_on_a_cpu_is_handed_over() -> None:
    with pytest.raises(ValueError, match="float32 on a CPU"):
        Stack([member()], dtype=torch.float64, compiled=True)
    assert stack(member()).compiled is None
