"""A spec whose networks are measured just as a recording was: its units, noise, stimuli, sessions and observables."""

from __future__ import annotations

import re
import tomllib

import tomli_w

from generator.dataset.electrodes import Electrode
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.spec.spec import Spec, parse


def matched(recording: Dataset, spec: Spec) -> Spec:
    """The same networks, measured with one electrode, that of the recording, to as many stimuli, in as many sessions.

    Sessions are spread evenly over all of learning. Of a recording whose sessions have times of their own the spec keeps its
    checkpoints, if they are more.

    Args:
        recording: the dataset of one.
        spec: whose networks are wanted.

    Raises:
        RequestError: the dataset holds simulated networks, or the recording has too little of something for a spec.
    """
    about, settings = recording.recording, recording.settings() or {}
    if about is None:
        raise RequestError(f"{recording} holds simulated networks, not a recording")
    electrode = Electrode.named(settings["electrodes"][0])
    block = {"units": electrode.units or "all", "noise": electrode.noise, "redraw": electrode.redraw}
    found = tomllib.loads(spec.to_toml())
    found.pop("snapshots", None)
    found |= {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", f"{spec.name}-{about.name}")[:80],
        "probe": about.stimuli,
        "checkpoints": about.sessions if about.times is None else max(about.sessions, spec.checkpoints),
        "observables": list(settings["observables"]),
        "electrode": [block],
    }
    return parse(tomli_w.dumps(found))
