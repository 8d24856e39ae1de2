"""What all pictures have in common: one colour per rule and per observable, whatever else is shown, and how they become files."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from generator.dataset.storage import Dataset

Dash = str | tuple[int, tuple[int, ...]]


class Look(NamedTuple):
    """How a line is drawn, so that it can be told from others without its colour, too."""

    color: str
    dash: Dash
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """The same as arguments of matplotlib's `plot`."""
        return {"color": self.color, "linestyle": self.dash, "marker": self.marker, "markersize": 4}


# Okabe & Ito's colours, told apart with any colour vision; a dark red in place of their yellow, which white paper swallows.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
RED, SKY, WINE, BLACK = "#D55E00", "#56B4E9", "#882255", "#000000"
DASHES: tuple[Dash, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 4)), (0, (8, 3)))
MARKERS = "osD^vPX*"
APART = (ORANGE, GREEN, PINK, RED, SKY, WINE, BLACK)  # of what has no look of its own; blue is of what stands alone


def numbered(number: int, alone: bool = False) -> dict[str, Any]:
    """Colour and marker of what has no look of its own, by its place among several."""
    color = BLUE if alone else APART[number % len(APART)]
    return {"color": color, "marker": MARKERS[number % len(MARKERS)]}


def _looks(**colors: str) -> dict[str, Look]:
    """The look of each name: its colour, and a dash and a marker that none of the others has."""
    kinds = zip(colors.items(), DASHES, MARKERS, strict=True)
    return {name: Look(color, dash, marker) for (name, color), dash, marker in kinds}


RULES = _looks(
    **{"sgdm": BLUE, "adam": ORANGE, "fa": GREEN, "ia": PINK, "dfa": RED},
    **{"fa+adam": SKY, "ia+adam": WINE, "dfa+adam": BLACK},
)
OBSERVABLES = _looks(
    **{"all": BLACK, "weight": BLUE, "activation": ORANGE, "change": GREEN, "curves": PINK},
    **{"step": RED, "population": SKY, "balance": WINE},
)
OBSERVABLE_NAMES = {
    "all": "all observables",
    "weight": "weights",
    "activation": "activations",
    "change": "activity change",
    "curves": "loss and accuracy\ncurves alone",
}
# Of names that are not listed: further colours, as different from those above and each other as so many can be.
OTHERS = ("#332288", "#117733", "#999933", "#AA4499", "#661100", "#6699CC", "#888888", "#44AA99")
STABLE: dict[Any, Any] = {
    "svg.hashsalt": "rulescope",
    "svg.fonttype": "path",
}  # equal bytes every time; letters as everywhere
METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def rule(name: str) -> Look:
    """How a rule is drawn, by its name alone."""
    return RULES.get(name) or _other(name)


def observable(name: str) -> Look:
    """How an observable is drawn, by its name alone."""
    return OBSERVABLES.get(name) or _other(name)


def noise(level: float) -> str:
    """The colour of a level of noise, by its value alone: the noisier, the lighter."""
    return matplotlib.colors.to_hex(matplotlib.colormaps["cividis"](0.95 * level / (level + 0.5)))


def called(name: str) -> str:
    """An observable in words."""
    return OBSERVABLE_NAMES.get(name) or plain(name)


def plain(text: str) -> str:
    """A name from a dataset, of which matplotlib shall read nothing as a formula."""
    return text.replace("$", r"\$")


def wrapped(name: str, width: int = 18) -> str:
    """A long name, such as that of an architecture with parameters, in lines: broken behind a parenthesis or a comma."""
    lines = [""]
    for part in re.split(r"(?<=[(,])", plain(name)):
        lines = [*lines, part] if lines[-1] and len(lines[-1] + part) > width else [*lines[:-1], lines[-1] + part]
    return "\n".join(lines)


def ordered(names: Iterable[str]) -> list[str]:
    """Each rule once: those known here first, in a fixed order, the others by name."""
    known = list(RULES)
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def _other(name: str) -> Look:
    color, dash, marker, *_ = hashlib.blake2b(name.encode()).digest()
    return Look(OTHERS[color % len(OTHERS)], DASHES[dash % len(DASHES)], MARKERS[marker % len(MARKERS)])


def style(figure: Figure) -> None:
    """What all pictures have in common."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)


def draw(figure: Figure, kind: str) -> bytes:
    """The figure as a file of this kind: png, svg or pdf. Equal figures give equal bytes, which hold no date."""
    drawn = io.BytesIO()
    with matplotlib.rc_context(STABLE):
        figure.savefig(drawn, format=kind, dpi=110, metadata=METADATA.get(kind))
    return _small(drawn) if kind == "png" else drawn.getvalue()


def _small(drawn: io.BytesIO) -> bytes:
    """A PNG of at most 128 colours: a third of the size, and no difference to the eye."""
    small = io.BytesIO()
    palette = Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    palette.save(small, format="png", optimize=True)
    return small.getvalue()


def publish(dataset: Dataset, name: str, figure: Figure) -> dict[str, bytes]:
    """Write the figure into a dataset, as `<name>.png` and `<name>.svg`; the bytes by kind. Raises DatasetError if it cannot."""
    files = {kind: draw(figure, kind) for kind in ("png", "svg")}
    for kind, content in files.items():
        dataset.publish(f"{name}.{kind}", content)
    return files
