"""Models that come with Rulescope: a folder per name, and in it a model for each kind of measurement.

Which of them answers follows from what was measured: of those whose statistics are all there, the one that reads most of them,
and of these the one whose electrode is most like the recording's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

from classifier.models.card import Card, load_card
from generator.dataset.electrodes import Electrode
from generator.dataset.folder import Folder
from generator.errors import RequestError

FOLDER = Path(__file__).parent / "shipped"
MANY = 1000  # units: what a whole layer counts as


def shipped(name: str | os.PathLike[str] | Folder) -> bool:
    """Whether a model of this name comes with Rulescope. A folder of yours that holds a model goes first."""
    known = {folder.name for folder in FOLDER.iterdir()} if FOLDER.is_dir() else set()
    return isinstance(name, str) and name in known and not Folder.of(name).exists("card.json")


def chosen(name: str, statistics: Iterable[str], electrode: str) -> Path:
    """The folder of the model that answers. Raises RequestError if none reads these statistics alone.

    Args:
        statistics: those that were measured.
        electrode: the name of what they were measured with.
    """
    cards = {folder: load_card(folder) for folder in sorted((FOLDER / name).iterdir())}
    there = set(statistics)
    possible = {folder: card for folder, card in cards.items() if there.issuperset(card.statistics)}
    if not possible:
        fewest = min(cards.values(), key=lambda card: len(card.statistics))
        lacking = sorted(set(fewest.statistics) - there)
        raise RequestError(
            f"no model of {name} reads what was measured: even the one that reads fewest statistics needs "
            f"{len(lacking)} more, such as {lacking[0]}"
        )

    def unlike(card: Card) -> tuple[int, float]:
        ours, theirs = Electrode.named(card.electrode), Electrode.named(electrode)
        return -len(card.statistics), abs(_size(ours) - _size(theirs)) + abs(_noise(ours) - _noise(theirs))

    return min(possible, key=lambda folder: unlike(possible[folder]))


def _size(electrode: Electrode) -> float:
    """The logarithm of how many units it records."""
    return math.log2(MANY * electrode.fraction if electrode.units is None else min(electrode.units, MANY))


def _noise(electrode: Electrode) -> float:
    """In standard deviations of what is recorded; noise that is counted otherwise passes for one."""
    return electrode.noise if electrode.noise_mode in ("none", "relative") else 1.0
