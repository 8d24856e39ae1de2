"""Which of the models that come with Rulescope answers: the one that reads most of what was measured, most alike measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from asked import train

from classifier.examples.features import scale_free
from classifier.examples.trajectories import load
from classifier.models import shipped, stored
from classifier.studies.predict import predict
from generator.errors import RequestError

MODELS = {
    "everything": ("full", "all"),
    "activity": ("full", "activation"),
    "activity-2": ("units2", "activation"),
    "activity-4": ("units4_relative0.5", "activation"),
}


@pytest.fixture(scope="module")
def folder(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models")
    for name, (electrode, observable) in MODELS.items():
        train(
            measured,
            place / "atlas" / name,
            "forest",
            ["shape"],
            electrode=electrode,
            observables=[observable],
            refits=0,
        )
    return place


@pytest.fixture
def ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shipped, "FOLDER", folder)
    return folder / "atlas"


@pytest.mark.parametrize(
    ("observable", "electrode", "model"),
    [
        ("all", "full", "everything"),
        ("all", "units2", "everything"),
        ("activation", "full", "activity"),
        ("activation", "units300", "activity"),
        ("activation", "units1", "activity-2"),
        ("activation", "units3_relative0.5", "activity-4"),
        ("activation", "units3_poisson20x0.5", "activity-4"),
        ("activation", "units5_relative0.25", "activity-4"),
    ],
)
def test_the_model_that_suits_what_was_measured(
    ours: Path, measured: Path, observable: str, electrode: str, model: str
) -> None:
    statistics = load(measured).of([observable]).statistics
    assert shipped.chosen("atlas", statistics, electrode) == ours / model


def test_a_name_is_enough_to_predict(ours: Path, measured: Path) -> None:
    assert predict("atlas", measured).equals(predict(ours / "everything", measured))
    assert predict("atlas", measured).attrs["model"].startswith("atlas/everything, trained on ")
    activity = predict("atlas", measured, electrode="units2", observables=["activation"])
    assert activity.equals(predict(ours / "activity-2", measured))
    assert not activity.equals(predict(ours / "activity", measured, electrode="units2"))


def test_a_folder_of_yours_goes_first(
    ours: Path, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train(measured, "atlas", "forest", ["shape"], observables=["weight"], refits=0)
    assert not shipped.shipped("atlas")
    assert predict("atlas", measured).equals(predict(tmp_path / "atlas", measured))


def test_what_no_model_reads_is_a_sentence(ours: Path, measured: Path) -> None:
    with pytest.raises(
        RequestError, match=r"even the one that reads fewest statistics needs \d+ more, such as activation_"
    ):
        predict("atlas", measured, observables=["weight"])
    with pytest.raises(RequestError, match="other is not a model"):
        predict("other", measured)


def test_what_comes_with_rulescope_is_small_and_sound() -> None:
    found = [folder for name in shipped.FOLDER.glob("*") for folder in name.iterdir()]
    assert {folder.name for folder in found} == {
        "everything",
        "activity",
        *(f"activity-{n}" for n in (10, 30, 100, 300)),
    }
    for folder in found:
        card = stored.load(folder).card
        assert card.labels == ["adam", "fa", "ia", "sgdm"]
        assert scale_free(card.features)
    assert sum(file.stat().st_size for folder in found for file in folder.iterdir()) <= 8 << 20
