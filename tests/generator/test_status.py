"""How far a dataset is, from its files alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running import status as looking
from generator.running.generate import generate, prepare
from generator.running.status import status
from generator.running.work import Assignment, give_up, work
from generator.spec import planning, spec
from generator.spec.spec import parse

SPEC = 'name = "x"\ncheckpoints = 4\nprobe = 32\n[[grid]]\ntask = "digits"\narchitecture = ["mlp2", "mlp3"]\n'
SPEC += 'rule = ["sgdm", "fa"]\nlearning_rate = [0.5, 1.0]\nepochs = 2\n'


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """Two of four cohorts are done, ten seconds after each other; one failed; one is in training, by this process."""
    place, parsed = tmp_path / "x", parse(SPEC)
    made = prepare(Dataset(place), parsed)
    todo = [Assignment(str(place), n, tuple(m), parsed.settings(), parsed.snapshot_ids, "cpu") for n, m in made]
    for number, assignment in enumerate(todo[:2]):
        work(assignment)
        file = place / "networks" / f"{assignment.cohort}.parquet"
        os.utime(file, (1e9 + 10 * number, 1e9 + 10 * number))
    give_up(todo[2], "the worker process died, 6 times")
    about = {"host": socket.gethostname(), "pid": os.getpid()}
    (place / "_inflight").mkdir(exist_ok=True)
    sign = about | {"begun": "2026-01-01T10:00:00.000+00:00", "job": "77"}
    (place / "_inflight" / f"{todo[3].cohort}.json").write_text(json.dumps(sign))
    (place / "_inflight" / f"{todo[0].cohort}.json").write_text(json.dumps(sign))  # was left when it was done
    (place / "driver.json").write_text(json.dumps(about | {"token": "a", "at": time.time()}))
    return place


def test_a_dataset_half_done(half: Path) -> None:
    found, parsed = status(Dataset(half)), parse(SPEC)
    cohorts = [list(members) for _, members in prepare(Dataset(half), parsed)]
    assert (found.cohorts, found.complete, found.networks, found.recorded) == (4, 2, 8, 6)
    assert found.planned == {(rule, mlp): 2 for rule in ("sgdm", "fa") for mlp in ("mlp2", "mlp3")}
    states = [found.states.get((members[0].rule.label, members[0].architecture)) for members in cohorts]
    assert states == [{"complete": 2}, {"complete": 2}, {"failed": 2}, None]
    assert found.failures == {"the worker process died, 6 times": 2}
    assert [(each["cohort"].split("-")[0], each["job"]) for each in found.training] == [
        (cohorts[3][0].rule.label, "77")
    ]
    assert found.rate == pytest.approx(0.2)
    cost = [planning.cost(members, parsed) for members in cohorts]
    assert found.left == pytest.approx((cost[2] + cost[3]) / (cost[1] / 10))


def test_the_spec_is_asked_of_nothing(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million networks it would take minutes. Datasets of older versions do not say what their cohorts are: it is asked."""
    first = status(Dataset(half))
    record = json.loads((half / "cohorts.json").read_text())
    old = record | {"cohorts": [{k: v for k, v in one.items() if k != "outline"} for one in record["cohorts"]]}
    assert old != record
    (half / "cohorts.json").write_text(json.dumps(old))
    assert status(Dataset(half)) == first
    (half / "cohorts.json").write_text(json.dumps(record))
    monkeypatch.setattr(spec.Spec, "_blocks", property(lambda self: pytest.fail("the spec was expanded")))
    assert status(Dataset(half)) == first
    (half / "spec.toml").unlink()
    assert status(Dataset(half)) == first


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("outline", 5),
        ("outline", {"rules": {}}),
        ("rules", []),
        ("rules", {"fa": 0}),
        ("rules", {"fa": "1"}),
        ("family", None),
        ("architecture", 3),
        ("cost", -1.0),
        ("cost", float("nan")),
        ("cost", "1"),
    ],
)
def test_an_outline_that_is_none_is_one_sentence(key: str, value: object, half: Path) -> None:
    record = json.loads((half / "cohorts.json").read_text())
    (record["cohorts"][0] if key == "outline" else record["cohorts"][0]["outline"])[key] = value
    (half / "cohorts.json").write_text(json.dumps(record))
    with pytest.raises(RequestError, match=r"cohorts\.json is damaged: .*") as caught:
        status(Dataset(half))
    assert "\n" not in str(caught.value)


def test_of_many_architectures_families_are_counted(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "MOST_ROWS", 1)
    found = status(Dataset(half))
    assert found.by == "family"
    assert found.planned == {(rule, "mlp"): 4 for rule in ("sgdm", "fa")}
    assert sum(found.states.values(), Counter()) == {"complete": 4, "failed": 2}


def test_the_command_says_it_all(half: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    said = command("status", half).stdout
    for part in (
        "2 of 4 cohorts complete, 6 of 8 networks recorded",
        f"made by process {os.getpid()} on {socket.gethostname()}, alive",
        "in training since 2026-01-01T10:00:00Z",
        "job 77",
        "lately 0.2 networks per second, about",
        "2 networks failed: the worker process died, 6 times",
    ):
        assert part in said
    (half / "driver.json").unlink()
    said = command("status", half).stdout
    assert "nobody is making it; `rulescope generate` goes on with it" in said
    assert "left" not in said
    generate(parse(SPEC), half, workers=0)
    said = command("status", half).stdout
    assert "4 of 4 cohorts complete, 8 of 8 networks recorded" in said
    assert "nobody" not in said


def test_no_dataset_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a dataset"):
        status(Dataset(tmp_path))
