"""Datasets and models that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import grid, write

from classifier.training import train


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 networks, four rules, three layers: only TRACE knows the rule, and it knows it exactly."""
    return write(tmp_path_factory.mktemp("traced") / "dataset", grid())


@pytest.fixture(scope="session")
def trained(traced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A forest trained on `traced`."""
    location = tmp_path_factory.mktemp("trained") / "model"
    train(traced, location, "forest", ["relative+shape"])
    return location
