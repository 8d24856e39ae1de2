"""What is asked of `identify`, looked at before any work: the reference's place, the target, the prior and the times."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from classifier.examples.scenarios import PROPERTIES
from classifier.examples.trajectories import Recorded
from classifier.identify.identify import prior_of
from generator.dataset.storage import Dataset
from generator.errors import RequestError, unknown

ATLAS = "atlas"  # the reference that comes with Rulescope, as a spec

Place = str | os.PathLike[str]


def located(reference: Place) -> Place:
    """The reference's place: of a name without a folder, if there is none of that name here, `datasets/<name>`.

    Raises:
        RequestError: the atlas is asked for, and nobody has made it.
    """
    name = os.fspath(reference)
    if Path(name).name != name or os.path.isdir(name):
        return reference
    found = Path("datasets", name)
    if found.is_dir():
        return found
    if name == ATLAS:
        raise RequestError(f"there is no dataset {name}, nor {found}: `rulescope generate {name}` makes it")
    return reference


def check(
    recordings: Sequence[Place | Recorded],
    target: str,
    prior: Mapping[str, float] | None,
    times: Sequence[float] | None,
) -> None:
    """Raises RequestError for an unknown target, for a prior that is none, and for times that sessions cannot have."""
    if target not in PROPERTIES:
        raise unknown("target", target, PROPERTIES)
    if prior is not None:
        prior_of(list(prior), prior)
    if times is None:
        return
    given = np.asarray(times, dtype=float)
    if len(given) < 2 or not np.isfinite(given).all() or (np.diff(given) <= 0).any():
        raise RequestError(f"times of sessions are two numbers or more, each above the one before, not {list(times)}")
    for one in recordings:
        about = one.about if isinstance(one, Recorded) else Dataset(one).recording
        if about is not None and about.sessions != len(given):
            raise RequestError(f"{about.name} has {about.sessions} sessions, and {len(given)} times are given")
