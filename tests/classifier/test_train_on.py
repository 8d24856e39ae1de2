"""A transfer that trains on some of a dataset's networks, and what it says of families of those that it tests on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from asked import transfer
from test_transfer import OPTIONS, made, networks
from typer.testing import CliRunner

import rulescope as rs
from classifier.cli import register
from classifier.examples.trajectories import load
from classifier.studies import transfer as carrying
from generator.errors import RequestError

TRAINED = networks(("a", "b", "c", "d"), ("mlp2", "mlp3"))
TESTED = networks(("x", "y"), ("mlp4", "mlp5"))


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its networks of mlp3 are called convolutional."""
    who = [one | {"family": "knet"} if one["architecture"] == "mlp3" else one for one in TRAINED]
    return made(tmp_path_factory.mktemp("train") / "train", who)


@pytest.fixture(scope="module")
def test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    who = [one | {"family": "knet"} if one["architecture"] == "mlp5" else one for one in TESTED]
    return made(tmp_path_factory.mktemp("test") / "test", who, "levels")


def test_only_networks_with_the_property_are_trained_on(
    train: Path, test: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    fit = carrying.Problem.fit

    def watched(self: Any, *arguments: Any) -> Any:
        seen.append(set(self.examples.identity["family"]))
        return fit(self, *arguments)

    monkeypatch.setattr(carrying.Problem, "fit", watched)
    monkeypatch.setattr(carrying, "parallel", lambda work, problem, calls, _: [work(problem, *each) for each in calls])
    found = transfer(train, [test], train_on={"family": ["mlp"]}, nulls=True, **OPTIONS)
    assert len(seen) > 3
    assert all(families == {"mlp"} for families in seen)
    assert found["train"] == {"networks": 32, "used": 32, "architectures": 1, "tasks": 4, "domains": 4}


def test_the_numbers_of_a_family_follow_from_its_networks(train: Path, test: Path) -> None:
    answer = rs.transfer(train, test, models="forest", features=["shape"])
    assert answer.families[["family", "architecture"]].drop_duplicates().to_numpy().tolist() == [
        ["knet", "all"],
        ["mlp", "all"],
        ["knet", "mlp5"],
        ["mlp", "mlp4"],
    ]
    for row in answer.families.to_dict("records"):
        inside = answer.named[answer.named["family"] == row["family"]]
        right = inside["true"] == inside[row["observable"]]
        assert row["mean"] == pytest.approx(right.groupby(inside["true"]).mean().mean())
        assert row["networks"] == len(inside) == 16


def test_the_command_line_takes_a_property_and_its_values(train: Path, test: Path) -> None:
    app = typer.Typer()
    register(app)
    asked = ["transfer", str(train), str(test)]
    options = [
        *asked,
        "--models",
        "forest",
        "--features",
        "shape",
        "--observables",
        "all",
        "--train-on",
        "architecture=mlp2,mlp3",
    ]
    done = CliRunner().invoke(app, options, catch_exceptions=False)
    assert "Trained on 64 networks of 64 of architecture mlp2 or mlp3, as many of each rule" in " ".join(
        done.output.split()
    )
    assert "by family and architecture" in done.output
    with pytest.raises(RequestError, match="nowhere is not a folder: make it first"):
        CliRunner().invoke(app, [*options, "--pictures", str(train / "nowhere")], catch_exceptions=False)
    CliRunner().invoke(app, [*options, "--pictures", str(train.parent)], catch_exceptions=False)
    assert sorted(file.name for file in train.parent.glob("domains.*")) == ["domains.png", "domains.svg"]
    with pytest.raises(RequestError, match="--train-on takes a property and its values, such as family=mlp, not 'mlp'"):
        CliRunner().invoke(app, [*asked, "--train-on", "mlp"], catch_exceptions=False)


def test_what_is_no_property_of_a_network_is_a_sentence(train: Path, test: Path) -> None:
    with pytest.raises(RequestError, match="unknown property 'layer'"):
        transfer(train, [test], train_on={"layer": ["fc1"]}, **OPTIONS)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"colour": ["red"]}, "unknown property 'colour'"),
        ({"family": ["resnet"]}, "unknown family 'resnet'.*known: knet, mlp"),
        ({"family": ["knet"], "architecture": ["mlp2"]}, "no network has all of these: family, architecture"),
    ],
)
def test_a_property_that_no_network_has_is_a_sentence(train: Path, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        load(train).having(asked)
