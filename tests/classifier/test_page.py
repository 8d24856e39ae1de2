"""The page of a report needs nothing but itself, shows a stranger's text as text, and sorts."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from synthetic import grid, write

from classifier.models.card import Card
from classifier.report import looks, page
from classifier.report.tables import Section
from generator.dataset.storage import Dataset

EVIL = '<script>alert("x")</script>'
ROWS = [
    ["model & <b>", "score", "count", "note"],
    ["svm", "0.835 ± 0.082", "1,024", ""],
    ["forest", "0.938 ± 0.075", "9", "10 b"],
    ["· part", "0.100", "", ""],
    [EVIL, "-0.5 (0.1)", "80", "9 a"],
    ["xgboost", "diverged", "700", "2 c"],
]
HEADLINE = {"models": {"svm": {}, EVIL: {}}, "electrode": "full", "sampling": "all", "split": "scenario", "seed": 0}
HEADLINE |= {"folds": {"0": {}, "1": {}}}
CARD = Card(
    "svm", "shape", {}, "rule", ["a"], ["b"], 6, "scenario", "", 9, {}, {"numpy": "2.0"}, "skops", "full", "all", "", []
)


def files() -> dict[str, bytes]:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [0, 1], label=EVIL)
    return {kind: looks.draw(figure, kind) for kind in ("png", "svg")}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    networks = grid(architectures=["mlp3"], seeds=1)
    for network in networks[:4]:
        network["rule"] = EVIL
    made = Dataset(
        write(tmp_path_factory.mktemp("page") / "a<b>&'c", networks, lambda network, layer: np.ones((6, 60)))
    )
    made.publish("spec.toml", f'name = "{EVIL}" # see https://example.org'.encode())
    return made


def rendered(dataset: Dataset, pictures: Mapping[str, Mapping[str, bytes]] | None = None) -> str:
    networks = dataset.read_kind("networks").to_pandas()
    about = page.facts(dataset, networks, HEADLINE, [], CARD)
    sections = [Section("A table", ROWS), Section("A picture", picture="p"), Section(f"Both {EVIL}", ROWS, "p")]
    command = ["report", dataset.root.name, "--seed=0"]
    return page.render(dataset, about, command, f"summary {EVIL}", sections, pictures or {"p": files()}, f"end {EVIL}")


class Parsed(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += data


def test_it_refers_to_nothing_but_itself(dataset: Dataset) -> None:
    found = Parsed(rendered(dataset))
    assert found.open == []
    ids = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    for tag, attributes in found.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            if name in ("src", "href", "srcset", "action", "poster"):
                assert value.startswith("data:image/") or value.removeprefix("#") in ids, value
            elif not value.startswith("data:"):
                assert "//" not in value
                assert "url(" not in value
    style, script = (re.search(f"<{tag}>(.*?)</{tag}>", rendered(dataset), re.DOTALL)[1] for tag in ("style", "script"))
    for text in (style, script):
        assert "//" not in text
        assert "url(" not in text
        assert "import" not in text


def test_a_strangers_text_is_text(dataset: Dataset) -> None:
    text = rendered(dataset)
    found = Parsed(text)
    assert EVIL not in text
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert found.text.count(EVIL) == 9  # rules, classifiers, summary, contents, title, two rows, spec, end
    assert "a<b>&'c" in found.text
    policy = next(a["content"] for _, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_it_says_what_was_run_and_is_the_same_every_time(dataset: Dataset) -> None:
    text = rendered(dataset)
    assert rendered(dataset) == text
    said = " ".join(Parsed(text).text.split())
    for words in (
        "24 complete, 0 diverged, 0 failed, of 24 planned",
        "learning rate 0.5, 1, 2",
        "scenario × 2 (seed 0)",
        "numpy 2.0",
        """rulescope report 'a<b>&'"'"'c' --seed=0""",
    ):
        assert words in said
    assert re.search(r"newest cohort 20\d\d-\d\d-\d\d \d\d:\d\d UTC", said)
    assert said.endswith("NeurIPS 2020.")


def test_an_unfinished_dataset_says_so(tmp_path: Path) -> None:
    made = Dataset(write(tmp_path / "d", grid(architectures=["mlp3"], seeds=1)))
    made.remove("networks/b.parquet")
    assert "12 of 24 networks" in rendered(made)


def test_a_picture_is_an_svg_unless_that_is_much_larger() -> None:
    assert page._picture({"png": b"a" * 10, "svg": b"b" * 40}).startswith("data:image/svg+xml;base64,YmJi")
    assert page._picture({"png": b"a" * 10, "svg": b"b" * 400}) == "data:image/png;base64,YWFhYWFhYWFhYQ=="


def test_many_values_of_an_axis_are_counted() -> None:
    assert page._values(pd.Series([2.0, 1.0, 2.0])) == "1, 2"
    assert page._values(pd.Series(range(20))) == "20 values, 0 to 19"


BROWSER = shutil.which("chromium")
FLAGS = ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking")
FLAGS += ("disable-component-update", "disable-sync", "virtual-time-budget=4000")


def shown(file: Path, folder: Path) -> str:
    """The page as a browser has it after its scripts."""
    command = [str(BROWSER), *(f"--{flag}" for flag in FLAGS), f"--user-data-dir={folder}", "--dump-dom", file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout


def first_column(text: str) -> list[str]:
    body = re.search(r"<tbody>(.*?)</tbody>", text, re.DOTALL)[1]
    return re.findall(r"<tr[^>]*><td[^>]*>(.*?)</td>", body)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_browser_sorts_its_tables(dataset: Dataset, tmp_path: Path) -> None:
    text = rendered(dataset)
    (tmp_path / "plain.html").write_text(text)
    plain = shown(tmp_path / "plain.html", tmp_path / "user")
    assert plain.count('<button type="button">') == 8  # its own script ran, though no other may
    own = [EVIL.replace("<", "&lt;").replace(">", "&gt;"), "svm", "forest", "· part", "xgboost"]
    open_to_tests = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    evil, svm, forest, part, xgboost = own
    for column, presses, order in (
        (0, 1, [evil, forest, part, svm, xgboost]),
        (1, 1, [evil, svm, forest, part, xgboost]),  # numbers by their size, before words
        (1, 2, [forest, part, svm, evil, xgboost]),
        (2, 1, [forest, part, evil, xgboost, svm]),  # 1,024 is the largest
        (3, 1, [xgboost, evil, forest, part, svm]),  # by the numbers that words begin with; nothing is last
        (3, 2, [forest, part, evil, xgboost, svm]),
    ):
        press = f"for (let i = 0; i < {presses}; i++) document.querySelectorAll('th button')[{column}].click();"
        file = tmp_path / "pressed.html"
        file.write_text(open_to_tests.replace("</body>", f"<script>{press}</script></body>"))
        found = shown(file, tmp_path / "user")
        assert first_column(found) == order, (column, presses)
        assert f'aria-sort="{"ascending" if presses == 1 else "descending"}"' in found
