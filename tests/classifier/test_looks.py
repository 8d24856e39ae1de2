"""Colours belong to names, can be told apart with any colour vision, and equal figures make equal files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure
from skimage.color import deltaE_ciede2000, rgb2lab

from classifier.report import looks

# What is seen of linear RGB: Machado, Oliveira & Fernandes (2009), severity 1.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(color: str, vision: str) -> np.ndarray:
    """(3,) CIE Lab of a colour as it is seen."""
    code = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(VISIONS[vision]) @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("known", [looks.RULES, looks.OBSERVABLES], ids=["rules", "observables"])
def test_known_names_are_told_apart_with_any_colour_vision(known: dict[str, looks.Look], vision: str) -> None:
    for one, other in itertools.combinations(known.values(), 2):
        assert deltaE_ciede2000(seen(one.color, vision), seen(other.color, vision)) > 10, (one, other)
    for one in known.values():
        assert deltaE_ciede2000(seen(one.color, vision), seen("#FFFFFF", vision)) > 25  # on white paper


@pytest.mark.parametrize("known", [looks.RULES, looks.OBSERVABLES], ids=["rules", "observables"])
def test_known_names_are_told_apart_without_colours(known: dict[str, looks.Look]) -> None:
    assert len({one.dash for one in known.values()}) == len({one.marker for one in known.values()}) == len(known)


def test_colours_of_their_own_are_of_rules_and_observables_that_there_are() -> None:
    """A new one need not have one: its name gives it a look."""
    from generator.observables import OBSERVABLES
    from generator.rules import ALIASES, PATHWAYS, UPDATES

    names = {f"{pathway}+{update}" for pathway in PATHWAYS for update in UPDATES} - set(ALIASES.values()) | set(ALIASES)
    assert {"sgdm", "adam", "fa", "ia"} <= set(looks.RULES) <= names
    assert {"all", "curves", "weight", "activation", "change"} <= set(looks.OBSERVABLES)
    assert set(looks.OBSERVABLES) <= {"all", "curves", *OBSERVABLES}


def test_another_name_has_a_look_that_depends_on_nothing_else() -> None:
    assert looks.rule("hebb") == looks.Look("#888888", "-.", "X")  # in every session and on every machine
    others = [looks.rule(f"rule{i}") for i in range(20)]
    assert len(set(others)) > 15
    assert not {one.color for one in others} & {one.color for one in looks.RULES.values()}


def test_noise_is_lighter_the_more_there_is() -> None:
    light = [seen(looks.noise(level), "normal")[0] for level in (0, 0.25, 0.5, 1, 2, 4)]
    assert light == sorted(light)
    assert len(set(light)) == len(light)


def test_known_rules_come_first() -> None:
    assert looks.ordered(["zeta", "fa", "alpha", "sgdm", "fa"]) == ["sgdm", "fa", "alpha", "zeta"]


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1))
    axes = drawn.subplots()
    axes.plot([0, 1], [1, 2], label=looks.plain("$a$ & <b>"))
    axes.set_xlim(0, 0.5)  # a clip path, which has an id
    axes.legend()
    return drawn


@pytest.mark.parametrize(("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_equal_figures_make_equal_files_without_a_date(
    kind: str, begins: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = looks.draw(figure(), kind)
    assert first.startswith(begins)
    assert b"Date>" not in first
    assert b"CreationDate" not in first
    monkeypatch.setattr("matplotlib.backends.backend_svg.uuid.uuid4", lambda: pytest.fail("ids are drawn at random"))
    assert looks.draw(figure(), kind) == first


def test_a_name_is_no_formula() -> None:
    drawn = figure()
    looks.draw(drawn, "svg")
    (text,) = drawn.axes[0].get_legend().get_texts()
    assert text.get_text() == r"\$a\$ & <b>"
    assert text._preprocess_math(text.get_text()) == ("$a$ & <b>", False)


def test_a_long_name_is_broken_behind_its_commas_and_a_short_one_is_not() -> None:
    assert looks.wrapped("mlp3") == "mlp3"
    assert looks.wrapped("mlp(depth=4,norm=batch)") == "mlp(depth=4,\nnorm=batch)"
    found = looks.wrapped("convnet(channels=8,depth=3,growth=1.5,kernel=5)")
    assert found == "convnet(\nchannels=8,\ndepth=3,\ngrowth=1.5,\nkernel=5)"
