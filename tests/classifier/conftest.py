"""Datasets and models that several tests read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asked import train
from synthetic import grid, later, write

from classifier.models import parallel
from classifier.models.estimators import COUNT, MODELS
from generator.cores import cores


@pytest.fixture(scope="session", autouse=True)
def small_forests() -> Iterator[Any]:
    """The project's forest, while tests use one of a third of its trees, and one thread.

    In few examples scikit-learn takes longer to ask for a tree than to grow it, and a plain trace is found by these. Threads
    wait for Python's lock there: two took a fifth more of the cores' time than one, and as long.
    """
    forest = MODELS["forest"]
    with pytest.MonkeyPatch.context() as patch:
        grid = [{**point, COUNT: point[COUNT] // 3} for point in forest.grid]
        patch.setitem(MODELS, "forest", replace(forest, grid=grid))
        patch.setattr(parallel, "cores", lambda: 1)
        yield forest


@pytest.fixture(scope="module")
def whole_forests(small_forests: Any) -> Iterator[None]:
    """The project's forest and threads, for a file: workers in other processes have no other, and the headline is made so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "forest", small_forests)
        patch.setattr(parallel, "cores", cores)
        yield


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 networks, four rules, three layers: only TRACE knows the rule, and it knows it exactly."""
    return write(tmp_path_factory.mktemp("traced") / "dataset", grid())


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with three more electrodes: nearly deaf, one that shows everything a checkpoint later, one as good as full."""
    electrodes = {"units4_relative0.5": 1e3, "units2": later, "fraction0.5": 0.0}
    return write(tmp_path_factory.mktemp("measured") / "dataset", grid(), measure=electrodes)


@pytest.fixture(scope="session")
def trained(traced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A forest trained on `traced`."""
    location = tmp_path_factory.mktemp("trained") / "model"
    train(traced, location, "forest", ["relative+shape"])
    return location


@pytest.fixture(scope="session")
def boosted(traced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An xgboost trained on `traced`."""
    location = tmp_path_factory.mktemp("boosted") / "model"
    train(traced, location, "xgboost", ["relative+shape"])
    return location
