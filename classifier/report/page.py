"""The report as one web page, `report/index.html`, that needs nothing else: no network, no other file. To be mailed, or printed.

A dataset may come from strangers: all of its text is escaped, and the page forbids every script but its own.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import importlib.metadata
import importlib.resources
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pandas as pd

from classifier.examples.gaps import progress
from classifier.models.card import Card
from classifier.report.tables import Section
from generator.dataset.storage import Dataset

AXES = (
    "rule",
    "architecture",
    "nonlinearity",
    "width",
    "task",
    "objective",
    "batch_size",
    "learning_rate",
    "epochs",
    "model_seed",
    "data_seed",
)
MANY = 12  # values of an axis that are not listed one by one
CITATION = (
    "Rulescope {version}, after Nayebi, Srivastava, Ganguli & Yamins, Identifying Learning Rules From Neural Network "
    "Observables, NeurIPS 2020."
)
NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?($|[\s(])")
MUCH_SMALLER = 8  # a picture is a PNG in the page where that is so many times smaller than the SVG

Facts = list[tuple[str, str]]


def facts(
    dataset: Dataset,
    networks: pd.DataFrame,
    headline: Mapping[str, Any],
    others: Sequence[Mapping[str, Any]],
    card: Card,
) -> Facts:
    """What was run, in pairs of a name and words.

    Args:
        networks: the table of networks, of complete cohorts.
        headline, others: evaluations, as `evaluate.evaluate` gives them.
        card: of the stored model.

    Raises:
        DatasetError: this is no dataset.
    """
    settings, states = dataset.settings() or {}, dataset.states()
    counts = ", ".join(f"{states.get(state, 0):,} {state}" for state in ("complete", "diverged", "failed"))
    unfinished = progress(dataset)
    found = [
        ("dataset", dataset.root.name),
        (
            "networks",
            f"{counts}, of {dataset.networks():,} planned" + (f"; not finished: {unfinished}" if unfinished else ""),
        ),
        *((name.replace("_", " "), _values(networks[name])) for name in AXES if name in networks),
        ("checkpoints", str(settings.get("checkpoints", ""))),
        ("electrodes", _some([str(one) for one in settings.get("electrodes", [])])),
        ("root seed of the dataset", str(settings.get("root_seed", ""))),
        ("newest cohort", _newest(dataset)),
        ("classifiers", ", ".join(headline["models"])),
        ("measured with", f"electrode {headline['electrode']}, checkpoints {headline['sampling']}"),
        ("splits", "; ".join(_split(one) for one in (headline, *others))),
        (
            "software of the networks",
            "; ".join(_versions(text) for text in sorted(set(networks["versions"].astype(str)))),
        ),
        ("software of this report", ", ".join(f"{name} {version}" for name, version in _own(card).items())),
    ]
    return [(name, words) for name, words in found if words]


def _own(card: Card) -> dict[str, str]:
    return {"rulescope": importlib.metadata.version("rulescope")} | card.versions


def _versions(text: str) -> str:
    """The JSON of a column `versions` in words."""
    try:
        return ", ".join(f"{name} {version}" for name, version in dict(json.loads(text)).items())
    except (ValueError, TypeError):
        return text


def _values(column: pd.Series) -> str:
    values = sorted(set(column.dropna().tolist()))
    return _some([f"{one:g}" if isinstance(one, float) else str(one) for one in values])


def _some(words: Sequence[str]) -> str:
    return ", ".join(words) if len(words) <= MANY else f"{len(words)} values, {words[0]} to {words[-1]}"


def _newest(dataset: Dataset) -> str:
    """When the newest file of a complete cohort was written: equal for equal files, unlike the time of the report."""
    newest = max(at for at, _ in dataset.stamps().values()) // 10**9
    return datetime.datetime.fromtimestamp(newest, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _split(evaluation: Mapping[str, Any]) -> str:
    return f"{evaluation['split']} × {len(evaluation['folds'])} (seed {evaluation['seed']})"


def _picture(files: Mapping[str, bytes]) -> str:
    """The address of a picture that holds it: the SVG, or the PNG if that is much smaller."""
    kind = "png" if MUCH_SMALLER * len(files["png"]) < len(files["svg"]) else "svg"
    media = {"png": "image/png", "svg": "image/svg+xml"}[kind]
    return f"data:{media};base64,{base64.b64encode(files[kind]).decode()}"


def _is_number(text: str) -> bool:
    return NUMBER.match(text) is not None


def render(
    dataset: Dataset,
    about: Facts,
    command: Sequence[str],
    summary: str,
    sections: Sequence[Section],
    pictures: Mapping[str, Mapping[str, bytes]],
    end: str,
) -> str:
    """The page. Equal arguments, and an equal dataset, give an equal page.

    Args:
        about: what was run, as `facts` gives it.
        command: the arguments of `rulescope` that made the report.
        summary, end: the first and the last paragraph.
        sections: tables and pictures, in order.
        pictures: by the names in the sections, the bytes by kind: png and svg.
    """
    spec = dataset.read("spec.toml").decode(errors="replace") if dataset.exists("spec.toml") else ""
    name = dataset.root.name
    made = [["generate", f"{name}/spec.toml", "--out", name]] if spec else []
    return fill(
        "page.html.j2",
        name=name,
        about=about,
        commands=[shlex.join(["rulescope", *one]) for one in (*made, command)],
        spec=spec,
        summary=summary,
        sections=sections,
        pictures=pictures,
        end=end,
    )


def fill(template: str, **values: Any) -> str:
    """A page of this template, one of those beside this file, which extends `base.html.j2`. Text in the values is escaped."""
    home = importlib.resources.files("classifier.report")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: home.joinpath(name).read_text(encoding="utf-8")),
    )
    environment.filters |= {"picture": _picture, "is_number": _is_number}
    script = home.joinpath("page.js").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        citation=CITATION.format(version=importlib.metadata.version("rulescope")),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )
