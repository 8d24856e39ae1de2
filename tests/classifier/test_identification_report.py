"""What `identify` found is said once, in one order, drawn so that it can be read, and shown to a browser as text alone."""

from __future__ import annotations

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_page import EVIL, Parsed
from typer.testing import CliRunner

import rulescope as rs
from classifier.identify import asked
from classifier.identify import identify as identifying
from classifier.report import identify as report
from classifier.report.identify_plots import MOST, picture
from classifier.report.tables import Section
from generator.errors import RequestError

PARTS = ["recorded", "measured", "verdict", "posterior", "trust", "evidence", "more"]


class Numbers:
    """A new number each time, which no other begins with, so that it can be found where it is said."""

    def __init__(self) -> None:
        self.drawn = iter(np.random.default_rng(0).permutation(np.arange(101, 999)))
        self.given: list[str] = []

    def share(self) -> float:
        """From 0 to 1, of three digits."""
        self.given.append(f"0.{next(self.drawn)}")
        return float(self.given[-1])

    def count(self) -> int:
        """Below a thousand."""
        self.given.append(str(next(self.drawn)))
        return int(self.given[-1])


def recording(name: str, labels: list[str], new: Numbers, bins: int = 3) -> dict[str, Any]:
    shares = [new.share() for _ in labels]
    left_out = {label: {"surest": 0.5, "distance": 0.75} for label in labels} if len(labels) > 2 else {}
    return {
        "name": name,
        "areas": ["PMd", "M1"],
        "sessions": new.count(),
        "stimuli": new.count(),
        "units": [new.count(), new.count()],
        "noise": {"PMd": 0.25, "M1": None},
        "notes": [f"{new.count()} trials"],
        "measured": {
            "electrodes": {"units30_relative0.25": 0.25, "units100_relative0.25": 0.75},
            "statistics": ["activation_raw_norm", "activation_raw_mean", "step_activation_norm"],
            "networks": new.count(),
            "recordings": new.count(),
            "sessions": "the first checkpoints, one after the other",
        },
        "warnings": ["the reference has no such noise"],
        "posterior": dict(zip(labels, shares, strict=True)),
        "set": labels[:1],
        "quality": {
            **{"networks": new.count(), "accuracy": new.share(), "chance": 1 / len(labels), "temperature": 1.25},
            **{"calibration_error": new.share(), "log_loss": new.share(), "log_loss_raw": new.share()},
            **{"coverage": new.share(), "size": 1.5},
            "reliability": [{"said": new.share(), "right": new.share(), "count": new.count()} for _ in range(bins)],
        },
        "none_of_these": left_out,
        "outside": {"strangeness": new.share(), "statistics": [{"statistic": "activation_raw_mean", "share": 0.5}]},
        "order": {"correlation": 0.5, "p": 0.001, "orders": new.count()},
        "evidence": [
            {"statistic": "step_activation_norm", "evidence": new.share()},
            {"statistic": "activation_raw_norm", "evidence": -new.share()},
        ],
    }


def answered(labels: list[str], names: tuple[str, ...] = ("mouse 1",), prior: bool = False) -> tuple[Any, list[str]]:
    """An answer of `identify`, and its numbers as they should be said."""
    new = Numbers()
    recordings = [recording(name, labels, new) for name in names]
    posterior = dict(recordings[0]["posterior"])
    if len(names) > 1:
        posterior = {label: new.share() for label in labels}
    heads = {
        "pathway": {"bp": new.share(), "fa": new.share()},
        "update": {"momentum": new.share(), "adam": new.share()},
    }
    shared = {"animals": len(names), "shared": 0.25, "weight": 0.8}
    found = {
        "reference": {"name": "datasets/atlas", "networks": new.count(), "labels": labels},
        "target": "rule",
        "prior": {label: new.share() for label in labels} if prior else None,
        "recordings": recordings,
        "posterior": posterior,
        "set": labels[:1],
        "pooled": shared,
        "heads": heads,
        "more": [
            {"units": new.count(), "sessions": new.count(), "areas": 2, "accuracy": new.share()} for _ in range(3)
        ],
        "verdict": {
            "kind": "named",
            "sentences": ["only one is likely", "a rule would not be noticed"],
            "set": labels[:1],
        },
    }
    return found, new.given


def many(count: int) -> list[str]:
    return [f"pathway{number}+update{number}" for number in range(count)]


def said(answer: Any, most: int | None = MOST) -> list[str]:
    """All sentences and cells, in order."""
    found: list[str] = []
    for part in report.tables(answer, most):
        for one in part.said:
            found += [cell for row in one.rows or [] for cell in row] if isinstance(one, Section) else [one]
    return found


def occurs(number: str, texts: list[str]) -> int:
    """How often it is said, as it is or in per cent."""
    percent = f"{float(number):.1%}"
    return sum(
        len(re.findall(rf"(?<![\d.]){re.escape(one)}0?(?!\d)", text)) for text in texts for one in (number, percent)
    )


@pytest.mark.parametrize("names", [("mouse 1",), ("mouse 1", "mouse 2")])
def test_every_number_is_said_once_and_in_order(names: tuple[str, ...]) -> None:
    answer, numbers = answered(["sgdm", "adam", "fa", "ia"], names, prior=True)
    assert [part.key for part in report.tables(answer)] == PARTS
    texts = said(answer)
    assert {number: count for number in numbers if (count := occurs(number, texts)) != 1} == {}
    text = "\n".join(texts)
    for words in ("PMd: ", "noise 0.25", "noise –", "units100_relative0.25 (75%), units30", "3 (2 activation, 1 step)"):
        assert words in text
    assert "Warning: " in text
    assert all(sentence in texts for sentence in answer["verdict"]["sentences"])
    assert ("its evidence" in text or "evidence of each animal counts 0.80" in text) == (len(names) > 1)


def test_what_more_would_bring_is_left_out_where_nobody_asked() -> None:
    answer, _ = answered(["sgdm", "adam"])
    answer["more"] = []
    assert [part.key for part in report.tables(answer)] == PARTS[:-1]
    assert "No rule was left out: whether one that the reference lacks would be noticed is not known." in said(answer)


def test_of_many_classes_the_most_probable_are_listed_and_the_others_summed() -> None:
    answer, _ = answered(many(49))
    short, whole = said(answer), said(answer, None)
    first = max(answer["posterior"], key=lambda name: answer["posterior"][name])
    assert first in short
    assert short.count(f"· {49 - MOST} others") == 2  # of the posterior, and of those left out
    rest = sum(sorted(answer["posterior"].values())[: 49 - MOST])
    assert f"{rest:.3f}" in short
    assert set(many(49)) < set(whole)


def test_what_is_not_known_is_no_number() -> None:
    answer, _ = answered(["sgdm", "adam", "fa"])
    answer["recordings"][0]["order"] = {"correlation": None, "p": None, "orders": 0}
    answer["recordings"][0]["outside"]["statistics"] = []
    answer["recordings"][0]["warnings"] = []
    texts = said(answer)
    assert texts.count(report.NONE) == 4  # correlation, p, orders; what the recording itself gains
    assert any(text.startswith("No warning") for text in texts)


@pytest.mark.parametrize("names", [("mouse 1",), ("a" * 60, *"bcde")])
@pytest.mark.parametrize("classes", [2, 49])
def test_the_picture_can_be_read(classes: int, names: tuple[str, ...]) -> None:
    """Warnings are errors; no two labels of an axis touch; what is drawn lies on the paper."""
    answer, _ = answered(many(classes), names, prior=classes == 2)
    figure = picture(answer)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    shown = [axes for axes in figure.get_axes() if axes.get_visible()]
    assert len(shown) == 2 + len(names)
    assert len(shown[0].get_yticklabels()) == min(classes, MOST)
    for axes in shown:
        inside = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        bottom, top = axes.get_ylim()
        boxes = [label.get_window_extent() for place, label in inside if bottom <= place <= top]
        assert all(one.y1 <= other.y0 or other.y1 <= one.y0 for one, other in itertools.pairwise(boxes))
        for box in (*boxes, axes.title.get_window_extent(), axes.xaxis.label.get_window_extent()):
            assert 0 <= box.x0 <= box.x1 <= width
            assert 0 <= box.y0 <= box.y1 <= height


def test_names_are_no_formulas_and_not_endless() -> None:
    answer, _ = answered(["$sgdm$", "a" * 200], ("$x$" * 40,))
    figure = picture(answer)
    figure.draw_without_rendering()
    assert all(len(label.get_text()) < 50 for axes in figure.get_axes() for label in axes.get_yticklabels())


@pytest.fixture(scope="module")
def hostile() -> tuple[Any, str]:
    answer, _ = answered(["sgdm", EVIL, "fa"], (EVIL, "other"))
    answer["recordings"][0]["notes"] = [EVIL]
    answer["recordings"][0]["areas"] = [EVIL, "M1"]
    answer["recordings"][0]["noise"] = {EVIL: 0.1, "M1": 0.2}
    answer["verdict"]["sentences"].append(f"{EVIL} lies outside")
    answer["reference"]["name"] = EVIL
    return answer, report.page(answer)


def test_the_page_shows_a_strangers_text_as_text(hostile: tuple[Any, str]) -> None:
    answer, text = hostile
    found = Parsed(text)
    assert EVIL not in text
    assert found.open == []
    assert [tag for tag, _ in found.tags].count("script") == 1
    whole = " ".join(found.text.split())
    assert all(sentence in whole for sentence in answer["verdict"]["sentences"])
    assert report.page(answer) == text


def test_the_page_needs_nothing_but_itself(hostile: tuple[Any, str]) -> None:
    _, text = hostile
    found = Parsed(text)
    ids = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    assert ids == set(PARTS)
    for tag, attributes in found.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            if name in ("src", "href"):
                assert value.startswith("data:image/") or value.removeprefix("#") in ids, value
    assert [tag for tag, _ in found.tags].count("img") == 1
    policy = next(a["content"] for _, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


class Asked(list[dict[str, Any]]):
    """What `identify` was called with."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """`identify` answers at once, and remembers what it was asked."""
    found = Asked()
    names = ("recordings", "reference", "target", "prior", "times", "features", "more", "seed")

    def answer(*given: Any) -> Any:
        found.append(dict(zip(names, given, strict=True)))
        return copy.deepcopy(answered(["sgdm", "adam", "fa"])[0])

    monkeypatch.setattr(identifying, "identify", answer)
    return found


@pytest.fixture
def mouse(tmp_path: Path) -> Path:
    """A recording of four sessions."""
    trials = np.random.default_rng(0).normal(size=(4, 6, 3, 8))
    return Path(rs.Recording({"V1": trials}, name="mouse").write(tmp_path / "mouse"))


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(rs.command_line(), ["identify", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, RequestError | SystemExit), result.exception
    return result


def test_the_command_asks_and_writes_and_prints(calls: Asked, mouse: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    out = ["--json", tmp_path / "a.json", "--page", tmp_path / "a.html", "--pictures", tmp_path / "p"]
    options = ["--prior", "sgdm=0.5, adam=0.5", "--times", "0,1,4,9", "--no-more", "--seed", 3, "--target", "rule"]
    done = run(mouse, "--reference", tmp_path, *options, *out)
    assert done.exit_code == 0, done.output
    assert calls == [
        {
            **{"recordings": [str(mouse)], "reference": str(tmp_path), "target": "rule", "features": None},
            **{"prior": {"sgdm": 0.5, "adam": 0.5}, "times": [0, 1, 4, 9], "more": False, "seed": 3},
        }
    ]
    written = json.loads((tmp_path / "a.json").read_text())
    assert written == answered(["sgdm", "adam", "fa"])[0]
    assert (tmp_path / "a.html").read_text().startswith("<!DOCTYPE html>")
    assert {one.name for one in (tmp_path / "p").iterdir()} == {"identification.png", "identification.svg"}
    titles = [part.title for part in report.tables(written)]
    assert [line for line in done.stdout.splitlines() if line in titles] == titles


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prior", "sgdm"], "such as sgdm=0.5,adam=0.5, not 'sgdm'"),
        (["--prior", "sgdm=much"], "--prior takes each class once"),
        (["--prior", "sgdm=1,sgdm=2"], "--prior takes each class once"),
        (["--prior", "=1"], "--prior takes each class once"),
        (["--prior", ""], "--prior takes each class once"),
        (["--prior", "sgdm=-1"], "a prior is a number of 0 or more"),
        (["--prior", "sgdm=nan"], "a prior is a number of 0 or more"),
        (["--prior", "sgdm=0"], "a prior is a number of 0 or more"),
        (["--times", "0,one"], "--times takes a number for each session"),
        (["--times", "0,2,1,3"], "each above the one before"),
        (["--times", "0,1,2,inf"], "each above the one before"),
        (["--times", "1"], "two numbers or more"),
        (["--times", "0,1,2"], "mouse has 4 sessions, and 3 times are given"),
        (["--target", "rul"], "unknown target 'rul' (did you mean 'rule'?)"),
        (["--pictures", "nowhere"], "--pictures nowhere is not a folder"),
        (["--page", "nowhere/a.html"], "cannot write nowhere/a.html"),
        (["--json", "nowhere/a.json"], "cannot write nowhere/a.json"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence_before_any_work(
    calls: Asked, mouse: Path, options: list[str], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = run(mouse, "--reference", tmp_path, *options)
    assert isinstance(refused.exception, RequestError)
    assert words in str(refused.exception)
    assert calls == []


def test_a_picture_that_could_not_be_written_is_refused_before_any_work(
    calls: Asked, mouse: Path, tmp_path: Path
) -> None:
    (tmp_path / "identification.svg").mkdir()
    refused = run(mouse, "--reference", tmp_path, "--pictures", tmp_path)
    assert "it is a directory" in str(refused.exception)
    assert calls == []


def test_the_reference_may_lie_in_datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        RequestError, match=r"no dataset atlas, nor datasets.atlas: `rulescope generate atlas` makes it"
    ):
        asked.located("atlas")
    assert asked.located("other") == "other"
    assert asked.located("s3://bucket/atlas") == "s3://bucket/atlas"
    (tmp_path / "datasets" / "atlas").mkdir(parents=True)
    assert asked.located("atlas") == Path("datasets/atlas")
    assert asked.located("elsewhere/atlas") == "elsewhere/atlas"
    (tmp_path / "atlas").mkdir()
    assert asked.located("atlas") == "atlas"


def test_from_python(calls: Asked, mouse: Path, tmp_path: Path) -> None:
    found = rs.identify(mouse, tmp_path, prior={"sgdm": 1}, more=False)
    assert (calls[0]["recordings"], calls[0]["prior"], calls[0]["more"]) == ([mouse], {"sgdm": 1}, False)
    assert list(found.table) == ["class", "probability", "in_set"]
    assert found.table["probability"].is_monotonic_decreasing
    assert set(found.table.loc[found.table["in_set"], "class"]) == set(found["set"])
    assert found.verdict["kind"] == "named"
    assert list(found.statistics) == ["recording", "class", "statistic", "evidence"]
    assert isinstance(found.plot(), Figure)
    with pytest.raises(RequestError, match="unknown target"):
        rs.identify([mouse], tmp_path, target="rul")
