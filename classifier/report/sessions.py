"""What a recording's statistics do over its sessions: of a recording nobody knows a loss, and this is what there is to see."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from classifier.examples.trajectories import load
from classifier.report import looks
from generator.dataset.storage import Dataset
from generator.errors import RequestError

COLUMNS = 5  # of panels
MOST_AREAS = 12  # that have a line of their own


def sessions(dataset: str | os.PathLike[str] | Dataset) -> pd.DataFrame:
    """The statistics of a recording, session by session.

    Args:
        dataset: a recording's dataset.

    Returns:
        A row per area, statistic and session: area, statistic, observable, session (from 0), time (as it was recorded with; the
        session, without), value (NaN where undefined). `attrs` has the recording's name.

    Raises:
        RequestError: no dataset there, or none of a recording.
    """
    source = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    about = source.recording
    if about is None:
        raise RequestError(f"{source} holds simulated networks, and no recording")
    examples = load(str(source))
    areas = examples.identity["layer"].astype(str).to_numpy()
    count, steps, several = examples.values.shape
    times = np.arange(steps, dtype=float) if about.times is None else np.asarray(about.times, dtype=float)
    names = list(examples.statistics)
    table = pd.DataFrame(
        {
            "area": np.repeat(areas, steps * several),
            "statistic": np.tile(names, count * steps),
            "observable": np.tile([examples.statistics[name].observable for name in names], count * steps),
            "session": np.tile(np.repeat(np.arange(steps), several), count),
            "time": np.tile(np.repeat(times, several), count),
            "value": examples.values.ravel(),
        }
    )
    table.attrs = {"name": about.name}
    return table


def basis(table: pd.DataFrame) -> str:
    """What a table of `sessions` rests on, in words."""
    count, areas = table["session"].nunique(), table["area"].nunique()
    return f"{count:,} sessions, {areas:,} area{'s' * (areas != 1)}, {table['statistic'].nunique()} statistics"


def draw(table: pd.DataFrame) -> Figure:
    """A table of `sessions`: a panel per statistic, a line per area."""
    names, areas = (list(dict.fromkeys(table[key])) for key in ("statistic", "area"))
    shown, lines = areas[:MOST_AREAS], -(-len(names) // COLUMNS)
    columns = min(COLUMNS, len(names))
    figure = Figure(figsize=(2.3 * columns + 0.4, 1.6 * lines + 0.9), layout="constrained")
    panels: list[Any] = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel().tolist()
    parts = dict(list(table.groupby(["statistic", "area"], sort=False)))
    timed = not np.array_equal(table["time"], table["session"])
    for axes, name in zip(panels, names, strict=False):
        for number, area in enumerate(shown):
            here = parts[name, area]
            axes.plot(
                here["time"],
                here["value"],
                markersize=3,
                linewidth=1.2,
                label=looks.plain(area),
                **looks.numbered(number, len(areas) == 1),
            )
        axes.set_title(looks.plain(name), fontsize=8)
        axes.margins(y=0.1)
        formatter = ScalarFormatter(useOffset=False)
        formatter.set_powerlimits((-3, 4))
        axes.yaxis.set_major_formatter(formatter)
        axes.yaxis.get_offset_text().set_fontsize(7)
        axes.tick_params(labelsize=7)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for number, axes in enumerate(panels[: len(names)]):
        if number + columns >= len(names):  # the lowest of its column
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("time of the session" if timed else "session", fontsize=8)
    rest = f", of which {MOST_AREAS} are drawn" if len(areas) > MOST_AREAS else ""
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(shown), 6), frameon=False, fontsize=8)
    several = f"{len(areas)} area{'s' * (len(areas) != 1)}{rest}"
    figure.suptitle(f"{looks.plain(str(table.attrs['name']))}: statistics over sessions, {several}", fontsize=9)
    looks.style(figure)
    return figure
