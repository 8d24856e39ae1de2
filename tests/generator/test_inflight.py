"""A cohort cut short goes on where it was, and ends in the same bytes."""

from __future__ import annotations

import itertools
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from oracles import FREE, RULES, WITH_MOMENTUM, member, suits

from generator.dataset.electrodes import FULL, Electrode
from generator.dataset.storage import Dataset
from generator.observables import OBSERVABLES
from generator.running import inflight
from generator.running.generate import generate
from generator.running.inflight import Inflight
from generator.spec.spec import parse
from generator.training import loop
from generator.training.loop import Observation
from generator.training.stack import Stack

pytestmark = pytest.mark.unchecked

PAIRS = [*itertools.product(RULES, ["mlp3"]), *itertools.product(WITH_MOMENTUM, [FREE[3]])]
PAIRS = [pair for pair in PAIRS if suits(*pair)]
PAIRS += itertools.product(["bp+momentum", "ia+momentum", "dfa+momentum"], ["knet4"])
PAIRS += itertools.product(["gevb+momentum", "bp+adam"], ["vnn3"])
PAIRS += [("ia+adam", "resnet18v2"), ("dfa", "resnet18v2"), ("bp+muon", "resnet18v2")]
CHECKPOINTS, PROBE = 5, 16


@pytest.fixture(autouse=True)
def _at_every_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflight, "SECONDS", 0.0)
    monkeypatch.setattr(inflight, "SHARE", 1e9)


def same(ours: list[Observation], theirs: list[Observation]) -> bool:
    names = [field.name for field in fields(Observation) if field.name != "snapshots"]
    return len(ours) == len(theirs) and all(
        np.asarray(getattr(a, name)).tobytes() == np.asarray(getattr(b, name)).tobytes()
        for a, b in zip(ours, theirs, strict=True)
        for name in names
    )


def interrupted(members: list[Any], folder: Path, after: int, **measured: Any) -> list[Observation]:
    """Observations of a cohort whose first worker dies after so many checkpoints and whose second finds its file."""
    for died in (True, False):
        kept = Inflight(Dataset(folder), "c.safetensors", {"a": 1})
        with closing(Stack(members, **measured)) as stack:
            if not (seen := kept.restore(stack)):
                assert died or not after
                stack.settle()
            else:
                assert [o.checkpoint for o in seen] == list(range(after))
            for observation in loop.go_on(stack, list(seen), CHECKPOINTS, PROBE):
                seen.append(observation)
                kept.flush(stack, seen)
                if died and len(seen) == after:
                    break
    return seen


@pytest.mark.parametrize(("rule", "architecture"), PAIRS)
def test_a_resumed_cohort_ends_in_the_same_bytes(rule: str, architecture: str, tmp_path: Path) -> None:
    settings = {"batch_size": 100, "schedule": "warmup-steps", "weight_decay": 0.01}
    members = [member(rule, architecture, **settings, model_seed=i, data_seed=i) for i in range(2)]
    undisturbed = list(loop.train(members, CHECKPOINTS, PROBE))
    assert same(interrupted(members, tmp_path, 3), undisturbed)


@pytest.mark.parametrize("updates", [1, 7, 12])  # of 7 between checkpoints
@pytest.mark.parametrize("rule", ["bp+momentum", "ia+adam"])
def test_a_cohort_cut_short_between_checkpoints_goes_on_from_there(rule: str, updates: int, tmp_path: Path) -> None:
    members = [member(rule, "knet4", batch_size=100, epochs=2, model_seed=i) for i in range(2)]
    undisturbed = list(loop.train(members, CHECKPOINTS, PROBE))
    steps = [observation.step for observation in undisturbed]
    done: list[int] = []
    kept, dies_at = Inflight(Dataset(tmp_path), "c.safetensors", {}), updates

    def learned() -> None:
        done.append(1)
        kept.flush(stack, seen)
        if len(done) == dies_at:
            raise KeyboardInterrupt

    with closing(Stack(members)) as stack, suppress(KeyboardInterrupt):
        stack.settle()
        seen: list[Observation] = []
        for observation in loop.go_on(stack, seen[:], CHECKPOINTS, PROBE, learned=learned):
            seen.append(observation)
    with closing(Stack(members)) as stack:
        seen = kept.restore(stack)
        assert kept.refused == ""
        assert len(stack.losses) == updates - max(step for step in steps if step < updates)
        for observation in loop.go_on(stack, seen[:], CHECKPOINTS, PROBE, learned=learned):
            seen.append(observation)
    assert len(done) == steps[-1]  # no update was made twice
    assert same(seen, undisturbed)


def test_dropout_augmentation_and_divergence_resume_too(tmp_path: Path) -> None:
    contrastive = [member("fa", "alexnet", "photos", objective="simclr", batch_size=200, data_seed=i) for i in range(2)]
    diverging = [member("sgdm", learning_rate=rate, batch_size=100) for rate in (1.0, 1e9)]
    for name, members in (("a", contrastive), ("b", diverging)):
        undisturbed = list(loop.train(members, CHECKPOINTS, PROBE))
        for after in (1, 2, CHECKPOINTS):
            assert same(interrupted(members, tmp_path / f"{name}{after}", after), undisturbed)
    assert undisturbed[-1].diverged_at[1] >= 0


def test_electrodes_and_what_their_noise_is_relative_to_resume_too(tmp_path: Path) -> None:
    electrodes = [
        FULL,
        *map(Electrode.named, ("units9_relative0.5", "units9_poisson20x0.1", "fraction0.1_between_redraw")),
    ]
    members = [member("fa", "knet4", "photos", batch_size=200, data_seed=i) for i in range(2)]
    undisturbed = list(loop.train(members, CHECKPOINTS, PROBE, electrodes=electrodes))
    assert undisturbed[0].statistics.shape == (2, 4, 4, 45)
    assert same(interrupted(members, tmp_path, 2, electrodes=electrodes), undisturbed)


def test_what_observables_remember_resumes_too(tmp_path: Path) -> None:
    electrodes = [FULL, *map(Electrode.named, ("units9_relative0.5", "units9_between", "fraction0.1_redraw"))]
    measured = {"electrodes": electrodes, "observables": tuple(OBSERVABLES)}
    members = [member("fa", "mlp3", batch_size=200, data_seed=i) for i in range(2)]
    undisturbed = list(loop.train(members, CHECKPOINTS, PROBE, **measured))
    for after in (1, 3):
        assert same(interrupted(members, tmp_path / str(after), after, **measured), undisturbed)


def test_a_file_that_does_not_fit_is_not_gone_on_with(tmp_path: Path) -> None:
    dataset, members = Dataset(tmp_path), [member(batch_size=100)]
    with closing(Stack(members)) as stack:
        stack.settle()
        seen = [next(loop.go_on(stack, [], CHECKPOINTS, PROBE))]
        Inflight(dataset, "c.safetensors", {"versions": 1}).flush(stack, seen)
    file = tmp_path / "c.safetensors"
    whole = file.read_bytes()
    with closing(Stack([member("adam", batch_size=100)])) as other:
        before = other.state()
        assert Inflight(dataset, "c.safetensors", {"versions": 2}).restore(other) == []
        assert Inflight(dataset, "c.safetensors", {"versions": 1}).restore(other) == []
        for damaged in (b"", whole[:5], whole[:-9], b"\xff" * 40, b"\x08" + bytes(7) + b"[[[[[[[["):
            file.write_bytes(damaged)
            kept = Inflight(dataset, "c.safetensors", {"versions": 1})
            assert kept.restore(other) == []
            assert kept.refused
        file.unlink()
        assert kept.__class__(dataset, "c.safetensors", {}).restore(other) == []
        assert all(np.array_equal(before[name], value) for name, value in other.state().items())


def test_a_flipped_bit_a_type_or_a_shape_is_noticed(tmp_path: Path) -> None:
    dataset, members, file = Dataset(tmp_path), [member(batch_size=100)] * 2, tmp_path / "c.safetensors"
    with closing(Stack(members)) as stack:
        stack.settle()
        Inflight(dataset, file.name, {}).flush(stack, [next(loop.go_on(stack, [], CHECKPOINTS, PROBE))])
    whole = file.read_bytes()
    arrays = safetensors.numpy.load(whole)

    def refused() -> str:
        with closing(Stack(members)) as other:
            kept, before = Inflight(dataset, file.name, {}), other.state()
            assert kept.restore(other) == []
            assert all(np.array_equal(before[name], value) for name, value in other.state().items())
        return kept.refused

    for place in (-1, -5000):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        file.write_bytes(flipped)
        assert refused().endswith("it is damaged: its checksum is another")
    weight = next(name for name in arrays if name.endswith("weight"))
    for change in (
        {weight: arrays[weight].astype(np.float64)},
        {weight: arrays[weight][:1]},
        {"losses": np.zeros((1, 3), np.float32)},
        {"observed.train_loss": np.zeros((1, 5))},
        {"observed.step": np.zeros((1, 2))},
        {"observed.probe_loss": np.zeros(1)},
        {"observed.diverged_at": np.zeros((1, 2), np.complex64)},
        {"observed.checkpoint": np.zeros(7)},
    ):
        said = {"about": "{}", "checksum": inflight._checksum(arrays | change)}
        file.write_bytes(safetensors.numpy.save(arrays | change, said))
        assert "c.safetensors is not gone on with, and the cohort is trained from the start: " in refused()
    file.write_bytes(whole)
    with closing(Stack(members)) as stack:
        assert len(Inflight(dataset, file.name, {}).restore(stack)) == 1


def test_a_killed_worker_leaves_its_checkpoints_and_the_next_one_removes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'name = "x"\ncheckpoints = 5\nprobe = 16\n[[grid]]\ntask = "photos"\narchitecture = "mlp2"\nrule = "ia"\nepochs = 3\n'
    generate(parse(text), tmp_path / "whole", workers=0)
    assert not list((tmp_path / "whole").glob("_inflight/*"))

    looked = loop.observe
    left = iter(range(3))

    def dying(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return looked(*arguments)

    monkeypatch.setattr(loop, "observe", dying)
    with pytest.raises(KeyboardInterrupt):
        generate(parse(text), tmp_path / "cut", workers=0)
    assert len(list((tmp_path / "cut").glob("_inflight/*"))) == 1

    calls: list[int] = []
    monkeypatch.setattr(loop, "observe", lambda *arguments: calls.append(1) or looked(*arguments))
    generate(parse(text), tmp_path / "cut", workers=0)
    assert len(calls) == 2
    assert not list((tmp_path / "cut").glob("_inflight/*"))
    (a,), (b,) = (list((tmp_path / name).glob("observables/*")) for name in ("whole", "cut"))
    assert a.read_bytes() == b.read_bytes()


def test_a_failure_keeps_the_checkpoints_and_a_complete_cohort_loses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'name = "x"\ncheckpoints = 5\nprobe = 16\n[[grid]]\ntask = "photos"\narchitecture = "mlp2"\nrule = "ia"\nepochs = 3\n'
    looked, left = loop.observe, iter(range(3))

    def failing(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise OSError("a stale file handle")
        return looked(*arguments)

    monkeypatch.setattr(loop, "observe", failing)
    assert generate(parse(text), tmp_path, workers=0).failures
    (file,) = (tmp_path / "_inflight").iterdir()
    kept = file.read_bytes()
    monkeypatch.setattr(loop, "observe", looked)
    assert not generate(parse(text), tmp_path, workers=0).failures
    assert not file.exists()
    file.write_bytes(kept)  # as a kill leaves it that comes after the cohort's files
    generate(parse(text), tmp_path, workers=0)
    assert not file.exists()


def test_short_cohorts_are_not_slowed_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflight, "SECONDS", 20.0)
    published: list[str] = []
    monkeypatch.setattr(Dataset, "publish", lambda self, name, content: published.append(name))
    with closing(Stack([member(batch_size=100)])) as stack:
        stack.settle()
        kept, seen = Inflight(Dataset(tmp_path), "c.safetensors", {}), []
        for observation in loop.go_on(stack, [], CHECKPOINTS, PROBE):
            seen.append(observation)
            kept.flush(stack, seen)
    assert published == []
