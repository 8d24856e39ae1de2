"""What `identify` found, in the order in which it should be read: what was recorded, what it was compared with, then the answer.

The same parts stand in the terminal and on the page; `identify_plots` draws them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from classifier.identify.identify import NOTICED, STRANGE
from classifier.identify.order import SURE
from classifier.models.trust import FOLDS, LEVEL
from classifier.report import looks
from classifier.report.identify_plots import MOST, alone, likeliest, picture, verdict
from classifier.report.page import fill
from classifier.report.tables import Rows, Section
from generator.console import Shown

NONE = "–"  # where there is no number
SETS = f"{LEVEL:.0%} set"
CHANGED = ("units", "noise", "sessions", "areas")  # columns of what more would bring, those that there are
PICTURE = "identification"  # the name of its file
NULLS = "what is named by who knows nothing of the rule (balanced accuracy, one fold)"
_RELIABILITY = (
    "Reliability: the probability of the named, and the share of networks that are named rightly; the least sure first"
)


class Part(NamedTuple):
    """A part of what is said: its name in links, its heading, and what stands there: sentences, and tables with their titles."""

    key: str
    title: str
    said: list[str | Section]


def tables(answer: Mapping[str, Any], most: int | None = MOST) -> list[Part]:
    """All that is said, in order.

    Args:
        answer: as `identify.identify` gives it.
        most: classes that a table lists; what more there are is a row. None: all.
    """
    return [
        _recorded(answer),
        _measured(answer),
        _verdict(answer),
        _posterior(answer, most),
        _trust(answer, most),
        _evidence(answer),
        *([_more(answer)] if answer["more"] else []),
    ]


def print_identification(answer: Mapping[str, Any]) -> None:
    """Print all parts."""
    console = Shown()
    for part in tables(answer):
        console.print(f"\n{part.title}", style="bold", soft_wrap=True)
        for one in part.said:
            if isinstance(one, Section):
                console.table(one.title, one.rows or [])
            else:
                console.print(one)


def page(answer: Mapping[str, Any]) -> str:
    """All parts and the picture as one web page, that needs nothing else. Equal answers give equal pages."""
    drawn = picture(answer)
    files = {kind: looks.draw(drawn, kind) for kind in ("png", "svg")}
    return fill(
        "identify.html.j2",
        name=", ".join(one["name"] for one in answer["recordings"]),
        target=answer["target"],
        parts=tables(answer, None),
        shown={"posterior": files},
    )


def _recorded(answer: Mapping[str, Any]) -> Part:
    rows = [["recording", "areas", "sessions", "stimuli"]]
    for one in answer["recordings"]:
        areas = [
            f"{area}: {units:,} units, noise {_number(one['noise'][area], '.2f')}"
            for area, units in zip(one["areas"], one["units"], strict=True)
        ]
        rows.append([one["name"], "; ".join(areas), f"{one['sessions']:,}", f"{one['stimuli']:,}"])
    noise = f"Noise is the error of a stimulus' mean over the standard deviation of responses; {NONE}: nobody knows it."
    return Part("recorded", "What was recorded", [Section("", rows), *_each(answer, "notes"), noise])


def _measured(answer: Mapping[str, Any]) -> Part:
    reference = answer["reference"]
    labels = reference["labels"]
    listed = f": {', '.join(labels)}" if len(labels) <= MOST else ""
    first = f"Compared with {reference['networks']:,} networks of {reference['name']}, {len(labels)} {_several(answer)}{listed}."
    like = [one["measured"] for one in answer["recordings"]]
    rows = [
        ["of the reference", *(one["name"] for one in answer["recordings"])],
        ["electrodes", *(_electrodes(one["electrodes"]) for one in like)],
        ["statistics", *(_observables(one["statistics"]) for one in like)],
        ["sessions", *(one["sessions"] for one in like)],
        ["networks", *(f"{one['networks']:,}" for one in like)],
        ["recordings of these", *(f"{one['recordings']:,}" for one in like)],
    ]
    warnings = _each(answer, "warnings", "Warning: ") or [
        "No warning: units, noise, sessions and statistics are those of the recording, or near."
    ]
    return Part("measured", "How the reference was measured to match it", [first, Section("", rows), *warnings])


def _electrodes(shares: Mapping[str, float]) -> str:
    """With which electrodes, and if they are several how often, the most used first."""
    used = sorted(shares.items(), key=lambda pair: -pair[1])
    return ", ".join(name if len(used) == 1 else f"{name} ({share:.0%})" for name, share in used)


def _observables(statistics: Sequence[str]) -> str:
    """How many statistics, of which observables."""
    kinds = [name.partition("_")[0] for name in statistics]
    parts = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    return f"{len(kinds)} ({', '.join(parts)})"


def _verdict(answer: Mapping[str, Any]) -> Part:
    rows = [["recording", "networks that lie nearer", "order of sessions", "p", "orders tried"]]
    for one in answer["recordings"]:
        order = one["order"]
        found = [
            _number(order["correlation"], ".2f"),
            _number(order["p"], ".2g"),
            f"{order['orders']:,}" if order["orders"] else NONE,
        ]
        rows.append([one["name"], f"{one['outside']['strangeness']:.1%}", *found])
    said: list[str | Section] = [
        *answer["verdict"]["sentences"],
        Section("Inside what was simulated, and learning", rows),
        f"Of networks that were held out, up to {STRANGE:.0%} may lie nearer to the reference: a recording beyond lies outside. "
        "Order: the correlation of how much sessions differ with how far they lie apart in time; p is the share of their other "
        f"orders that give as much. Above {SURE:.2g} no learning is seen.",
    ]
    if any(one["outside"]["statistics"] for one in answer["recordings"]):
        said.append(Section("What sticks out: share of features beyond the reference's central 99%", _odd(answer)))
    return Part("verdict", f"Verdict: {verdict(answer)}", said)


def _odd(answer: Mapping[str, Any]) -> Rows:
    """Header and a row per statistic that sticks out anywhere."""
    shares = [
        {each["statistic"]: each["share"] for each in one["outside"]["statistics"]} for one in answer["recordings"]
    ]
    names = dict.fromkeys(name for of in shares for name in of)
    header = ["statistic", *_columns(answer, "share")]
    return [header, *([name, *(f"{of[name]:.0%}" if name in of else NONE for of in shares)] for name in names)]


def _posterior(answer: Mapping[str, Any], most: int | None) -> Part:
    prior, target, animals = answer["prior"], answer["target"], answer["pooled"]["animals"]
    of = [one["posterior"] for one in answer["recordings"]] if animals > 1 else []
    alike = [one["name"] for one in answer["recordings"]] if animals > 1 else []
    order = likeliest(answer)
    rows = [[target, *(["beforehand"] if prior else []), "probability", f"in the {SETS}", *alike]]
    cells = [*([prior] if prior else []), answer["posterior"], None, *of]
    for name in order[:most]:
        numbers = [("yes" if name in answer["set"] else "no") if one is None else f"{one[name]:.3f}" for one in cells]
        rows.append([name, *numbers])
    if rest := order[most:] if most is not None else []:
        count = f"{sum(name in answer['set'] for name in rest)} of them"
        sums = [count if one is None else f"{sum(one[name] for name in rest):.3f}" for one in cells]
        rows.append([f"· {len(rest)} others", *sums])
    said: list[str | Section] = [Section("", rows)]
    if not prior:
        said.append(f"Beforehand all {_several(answer)} were equally likely.")
    if animals > 1:
        said += [f"{one['name']} alone: {SETS} of {', '.join(one['set'])}." for one in answer["recordings"]]
        said.append(_pooled(answer["pooled"]))
    for head, shares in answer["heads"].items():
        likely = sorted(shares, key=lambda name: -shares[name])
        lines = [[name, f"{shares[name]:.3f}"] for name in likely[:most]]
        if left := likely[most:] if most is not None else []:
            lines.append([f"· {len(left)} others", f"{sum(shares[name] for name in left):.3f}"])
        said.append(Section(f"The {head} alone", [[head, "probability"], *lines]))
    return Part("posterior", f"How likely each {target} is", said)


def _pooled(pooled: Mapping[str, Any]) -> str:
    return (
        f"{pooled['animals']} animals are taken to learn alike. Networks of one scenario have {pooled['shared']:.2f} of "
        f"their errors in common, so the evidence of each animal counts {pooled['weight']:.2f}."
    )


def _trust(answer: Mapping[str, Any], most: int | None) -> Part:
    found = {one["name"]: one["quality"] for one in answer["recordings"]}
    rows = _quality("measured like", found, len(answer["reference"]["labels"]), _several(answer))
    said: list[str | Section] = [Section("", rows), Section(_RELIABILITY, _reliability(answer))]
    return Part("trust", "How far to trust it", [*said, *_unseen(answer, most)])


def _quality(what: str, found: Mapping[str, Mapping[str, Any]], labels: int, several: str) -> Rows:
    """Header and a row per measure of quality, a column per name; `what`: what the names are of."""
    measures = (
        ("recordings of networks", "networks", ",", "none was trained on"),
        ("balanced accuracy", "accuracy", ".3f", "share named rightly, the mean over classes"),
        ("chance", "chance", ".3f", "of who guesses"),
        ("calibration error", "calibration_error", ".3f", "how far probabilities lie from shares of right answers"),
        ("log loss, not calibrated", "log_loss_raw", ".4f", "nats"),
        ("log loss, calibrated", "log_loss", ".4f", f"nats; who knows nothing loses {math.log(labels):.3f}"),
        ("temperature", "temperature", ".2f", "above 1: the scores had been too sure"),
        (f"coverage of {SETS}s", "coverage", ".1%", f"share that holds the truth: {LEVEL:.0%} was asked for"),
        (f"mean size of {SETS}s", "size", ".2f", f"of {labels} {several}"),
    )
    rows = [[what, *found, "means"]]
    rows += [
        [name, *(_number(one.get(key), form) for one in found.values()), meaning]
        for name, key, form, meaning in measures
    ]
    return rows


def print_trust(found: Mapping[str, Any]) -> None:
    """Print how far answers may be trusted, before there is a recording."""
    console, several = Shown(), _several(found)
    console.print(
        f"Recordings of {found['areas']} {'area' if found['areas'] == 1 else 'areas'} with {found['statistics']} statistics, "
        f"{found['sessions']} sessions, measured with {', '.join(found['electrodes'])}, of {found['networks']:,} networks of "
        f"{found['reference']}"
    )
    columns = {"held out": found["quality"], **found["tests"]}
    console.table("how far to trust answers", _quality("tested on", columns, len(found["labels"]), several))
    console.print(
        ", ".join(f"{name} {value:.3f}" for name, value in found["nulls"].items()) + f": {NULLS}", soft_wrap=True
    )
    console.table(
        "reliability of held-out networks: probability of the named, share named rightly", _bins(found["quality"])
    )
    if found["none_of_these"]:
        rows = [[f"{found['target']} left out", "by its probability", "by its distance"]]
        rows += [
            [name, f"{one['surest']:.2f}", f"{one['distance']:.2f}"] for name, one in found["none_of_these"].items()
        ]
        console.table("would it be noticed? area under the ROC curve, ½ is chance", rows)


def _bins(quality: Mapping[str, Any]) -> Rows:
    """Header and a row per bin of networks."""
    rows = [[f"{part['said']:.3f}", f"{part['right']:.3f}", f"{part['count']:,}"] for part in quality["reliability"]]
    return [["probability of the named", "named rightly", "networks"], *rows]


def _reliability(answer: Mapping[str, Any]) -> Rows:
    """Header and a row per bin of held-out networks; of several recordings a column each."""
    found = [one["quality"]["reliability"] for one in answer["recordings"]]
    if alone(answer):
        return _bins(answer["recordings"][0]["quality"])
    cells = [[f"{part['said']:.3f}: {part['right']:.3f} of {part['count']:,}" for part in parts] for parts in found]
    header = [f"measured like {one['name']}" for one in answer["recordings"]]
    return [header, *(list(row) for row in itertools.zip_longest(*cells, fillvalue=NONE))]


def _unseen(answer: Mapping[str, Any], most: int | None) -> list[str | Section]:
    """Whether a class that the reference lacks would be noticed."""
    target, each = answer["target"], [one["none_of_these"] for one in answer["recordings"]]
    if not any(each):
        return [f"No {target} was left out: whether one that the reference lacks would be noticed is not known."]
    order = [name for name in likeliest(answer) if any(name in found for found in each)]
    kinds = {"surest": "by how sure the answer is", "distance": "by distance"}
    if alone(answer):
        header, columns = [*kinds.values()], [([kind], each[0]) for kind in kinds]
    else:
        header, columns = [one["name"] for one in answer["recordings"]], [([*kinds], found) for found in each]
    rows = [["left out", *header]]
    for name in order[:most]:
        cells = [[f"{found[name][kind]:.2f}" for kind in of] if name in found else [NONE] for of, found in columns]
        rows.append([name, *map(", ".join, cells)])
    if rest := order[most:] if most is not None else []:
        ranges = [
            [[found[name][kind] for name in rest if name in found] or [math.nan] for kind in of]
            for of, found in columns
        ]
        cells = [[f"{min(one):.2f} to {max(one):.2f}" for one in of] for of in ranges]
        rows.append([f"· {len(rest)} others", *map(", ".join, cells)])
    return [
        Section(f"Would a {target} be noticed that the reference lacks?", rows),
        f"Each {target} was left out of training once. Numbers say how well its networks are told from the others, first by how "
        "sure the answer is, then by how far they lie from the reference: area under the ROC curve, ½ is chance. From "
        f"{NOTICED:g} on, by either, it would be noticed.",
    ]


def _evidence(answer: Mapping[str, Any]) -> Part:
    said: list[str | Section] = [
        "Evidence in nats: positive speaks for the named class, negative for the mean of the others."
    ]
    for one in answer["recordings"]:
        named = likeliest(one)[0]
        rows = [["statistic", f"evidence for {named}"]]
        rows += [[each["statistic"], f"{each['evidence']:+.3f}"] for each in one["evidence"]]
        said.append(Section("" if alone(answer) else one["name"], rows))
    return Part("evidence", "What it rests on", said)


def _more(answer: Mapping[str, Any]) -> Part:
    first, *others = answer["more"]
    changed = [name for name in CHANGED if name in first]
    rows = [["", *changed, "balanced accuracy", "gained"]]
    rows.append(["this recording", *_setting(first, changed), f"{first['accuracy']:.3f}", NONE])
    for one in others:
        gained = f"{one['accuracy'] - first['accuracy']:+.3f}"
        rows.append(["with", *_setting(one, changed), f"{one['accuracy']:.3f}", gained])
    rows[0][0] = "measured" if alone(answer) else answer["recordings"][0]["name"]
    said = f"Scored on one network in {FOLDS}: a difference of a few hundredths may be chance."
    return Part("more", "What more would bring", [Section("", rows), *([said] if others else [])])


def _setting(one: Mapping[str, Any], changed: Sequence[str]) -> list[str]:
    return [_number(one[name], ".2f" if name == "noise" else ",") for name in changed]


def _several(answer: Mapping[str, Any]) -> str:
    """The target's plural."""
    target = str(answer["target"])
    return f"{target[:-1]}ies" if target.endswith("y") and target != "pathway" else f"{target}s"


def _columns(answer: Mapping[str, Any], what: str) -> list[str]:
    """A column's header for each recording."""
    return [what] if alone(answer) else [f"{what}, {one['name']}" for one in answer["recordings"]]


def _each(answer: Mapping[str, Any], key: str, before: str = "") -> list[str | Section]:
    """The sentences of each recording, and if they are several whose."""
    whose = "" if alone(answer) else "{}: "
    return [before + whose.format(one["name"]) + text for one in answer["recordings"] for text in one[key]]


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else f"{value:{form}}"
