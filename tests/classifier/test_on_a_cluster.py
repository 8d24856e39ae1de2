"""Cross-validation on a cluster's workers gives what it gives here; examples that exceed the memory stay on workers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import pytest
from asked import accuracies, evaluate, train
from distributed import LocalCluster
from synthetic import grid, write

from classifier.models import spread
from classifier.models.card import load_card
from classifier.models.parallel import client, on, parallel
from classifier.studies.conditions import Condition
from generator.clusters import local, process
from generator.errors import RequestError

pytestmark = pytest.mark.usefixtures("whole_forests")
STATUSES = {network["network_id"]: "diverged" for network in grid()[::17]}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler with two workers, which start as the generator's do, for many of them die here."""
    with (
        process.unchanged(*process.environment()),
        dask.config.set({local.START: local.start_method()}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50, memory_limit=0
        ) as running,
        local.refilled(running, 2),
    ):
        yield running.scheduler_address


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trace in so much noise that about every other network is named; some networks diverged."""
    folder = tmp_path_factory.mktemp("noisy") / "dataset"
    return write(folder, grid(seeds=16), statuses=STATUSES, measure={"units4_relative0.5": 2.0})


def test_every_model_scores_the_same_on_a_cluster(traced: Path, cluster: str) -> None:
    asked: dict[str, Any] = {"features": ["levels"], "n_splits": 1, "permute_labels": 3}
    here = evaluate(traced, **asked)
    with on(cluster):
        assert client() is not None
        assert evaluate(traced, **asked) == here
    assert client() is None


def test_conditions_and_importances_are_the_same_on_a_cluster(measured: Path, cluster: str, tmp_path: Path) -> None:
    asked = [Condition(electrode, "sessions3", "weight") for electrode in ("full", "units2")]
    here = accuracies(measured, asked, transfer="both", n_splits=2)
    train(measured, tmp_path / "here", "forest", ["levels"])
    with on(cluster):
        there = accuracies(measured, asked, transfer="both", n_splits=2)
        train(measured, tmp_path / "there", "forest", ["levels"])
    assert here.equals(there)
    cards = [load_card(tmp_path / where) for where in ("here", "there")]
    assert replace(cards[0], seal="") == replace(cards[1], seal="")  # skops writes addresses into a classifier's file
    for way in ("impurity", "permutation", "refit"):
        ours, theirs = (
            pd.read_parquet(tmp_path / where / card.importances(way))
            for where, card in zip(("here", "there"), cards, strict=True)
        )
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def _process(shared: object) -> int:
    return os.getpid()


def test_a_single_worker_computes_and_not_this_process() -> None:
    alone = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50)
    with alone as running, on(running.scheduler_address):
        (worker,) = set(parallel(_process, None, [()] * 5, "where"))
    assert worker != os.getpid()


def _dies(folder: Path, number: int, deaths: int) -> int:
    """The process is killed so many times before it gets further."""
    if len(list(folder.iterdir())) < deaths:
        (folder / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_what_dies_with_its_workers_is_computed_again(cluster: str, tmp_path: Path) -> None:
    calls = [(number, 3) for number in range(20)]
    with on(cluster):
        assert parallel(_dies, tmp_path, calls, "dies") == list(range(20))
    assert len(list(tmp_path.iterdir())) >= 3


def test_a_computation_that_kills_its_workers_is_one_sentence(cluster: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="workers died of the same computation again and again"), on(cluster):
        parallel(_dies, tmp_path, [(0, 1000)], "dies")


# -- more examples than memory -----------------------------------------------------------------------------------------
@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "memory", lambda: 1000)


@pytest.mark.parametrize(("split", "sampling"), [("scenario", "all"), ("architecture", "sessions4")])
def test_examples_on_workers_are_named_as_well_as_examples_here(
    split: str, sampling: str, noisy: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"models": ["xgboost"], "n_splits": 3, "electrode": "units4_relative0.5"}
    asked |= {"split": split, "sampling": sampling, "observables": ["all", "weight"]}
    here = evaluate(noisy, **asked)
    monkeypatch.setattr(spread, "memory", lambda: 1000)
    with on(cluster):
        there = evaluate(noisy, **asked)
    for key in ("networks", "examples", "left_out", "chance", "split", "electrode"):
        assert here[key] == there[key]
    assert here["left_out"] == {"diverged": len(STATUSES)}
    for observable in ("all", "weight", "curves"):
        for level in ("layer", "network"):
            one, other = (found["models"]["xgboost"][observable][level] for found in (here, there))
            assert one["mean"] == pytest.approx(other["mean"], abs=0.06), (observable, level)


def test_permuted_labels_give_chance_there_too(traced: Path, cluster: str, little_memory: None) -> None:
    with on(cluster):
        found = evaluate(traced, ["xgboost"], ["shape"], ["all"], permute_labels=5, n_splits=2)
    assert found["models"]["xgboost"]["all"]["network"]["mean"] == 1.0
    assert found["permuted"]["mean"] < 0.5


def test_too_little_memory_is_said_before_anything_is_loaded(traced: Path, cluster: str, little_memory: None) -> None:
    with pytest.raises(RequestError, match=r"take about 0\.\d GB, and this machine has 0\.0 GB: name a cluster"):
        evaluate(traced)
    with on(cluster), pytest.raises(RequestError, match="xgboost learns from them, but not svm, forest: say --models"):
        evaluate(traced, ["svm", "xgboost", "forest"])


def test_the_command_line_takes_a_cluster(traced: Path, cluster: str, command: Callable[..., Any]) -> None:
    found = command(
        "evaluate", traced, "--models", "svm", "--features", "levels", "--n-splits", 1, "--cluster", cluster
    )
    assert (found.returncode, found.stderr.strip()) == (0, "")
    assert "svm" in found.stdout
    refused = command("controls", traced, "--cluster", "nowhere")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no cluster answers to 'nowhere'" in refused.stderr


def _kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("notices", [True, False])
def test_a_training_whose_worker_dies_is_tried_again(
    notices: bool, traced: Path, cluster: str, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xgboost.dask import DaskXGBClassifier

    train_there, ends, pids = DaskXGBClassifier.fit, list[str](), list[int]()

    def fit(self: DaskXGBClassifier, *data: object) -> Any:
        async def watched() -> Any:
            try:
                if pids:
                    dying = pids[:1] if notices else pids[:]  # all, for one may have nothing of the data
                    threading.Timer(0.1, _kill, dying).start()
                    pids.clear()
                    if not notices:
                        await asyncio.sleep(3600)
                return await train_there(self, *data)
            except BaseException as error:
                ends.append(type(error).__name__)
                raise

        return watched()

    monkeypatch.setattr(DaskXGBClassifier, "fit", fit)
    monkeypatch.setattr(spread, "GRACE_SECONDS", 600.0 if notices else 3.0)
    with on(cluster):
        pids.extend(client().run(os.getpid).values())
        found = evaluate(traced, ["xgboost"], ["shape"], ["all"], n_splits=2)
    assert notices or ends == ["CancelledError"]  # a death just before it begins may go unnoticed
    assert found["models"]["xgboost"]["all"]["network"]["mean"] == 1.0
