"""Others on the same machine cannot run code in a run's processes, look in, or lead it astray by what they leave lying about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import pytest
import stranger

from generator.clusters import pool as pools
from generator.clusters.local import SILENCE, Local
from generator.errors import RequestError

SPEC = """
name = "x"
checkpoints = 3
probe = 16
{cluster}
[[grid]]
task = "digits"
architecture = "mlp2"
rule = ["sgdm", "adam"]
learning_rate = [0.5, 1.0]
epochs = {epochs}
"""
COMMAND = [str(Path(sys.executable).with_name("rulescope"))]


LISTENING = 1 + 2 * 2  # places: of the scheduler; of each worker and its nanny


@contextmanager
def running(folder: Path, spec: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`rulescope generate`, once its workers are there; stopped when this is left. What it prints lies in the file `said`."""
    (folder / "spec.toml").write_text(spec)
    order = [*COMMAND, "generate", "spec.toml", "--workers", "2"]
    with open(folder / "said", "w") as said:
        run = subprocess.Popen(order, cwd=folder, env=os.environ | environment, stdout=said, stderr=said, text=True)
    try:
        deadline = time.monotonic() + 120
        while len(stranger.ports([run.pid])) < LISTENING:
            assert run.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < deadline, "its workers do not come"
            time.sleep(0.5)
        yield run
    finally:
        run.send_signal(signal.SIGINT)
        run.wait(timeout=60)


def test_nobody_else_on_the_machine_runs_code_in_a_run_or_sees_it(tmp_path: Path) -> None:
    with running(tmp_path, SPEC.format(cluster="", epochs=5000)) as run:
        places = stranger.ports([run.pid])
        assert {place.rsplit(":", 1)[0] for place in places} == {"127.0.0.1"}
        assert len(places) == LISTENING
        assert stranger.successes(places) == []
        assert run.poll() is None


def test_a_dashboard_is_shown_when_asked_for_and_runs_no_code(tmp_path: Path) -> None:
    with running(tmp_path, SPEC.format(cluster="[cluster]\ndashboard = true\n", epochs=5000)) as run:
        places = stranger.ports([run.pid])
        (found,) = stranger.successes(places)
    place, _, page = found.partition(" shows ")
    assert page == "/status"
    assert f"dashboard: http://{place}{page}" in (tmp_path / "said").read_text()
    assert {place.rsplit(":", 1)[0] for place in places} == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["t", "temporary-" * 10])  # the long one's path is too long for a socket
def test_what_lies_about_leads_no_run_astray(name: str, tmp_path: Path) -> None:
    """A module in the working directory, a folder for Dask in the temporary one, and settings for other clusters."""
    here, temporary, theirs = (tmp_path / each for each in ("here", name, "theirs"))
    for folder in (here, temporary, theirs):
        folder.mkdir()
    (temporary / "dask-scratch-space").symlink_to(theirs)
    for module in ("socket", "torch", "selectors"):
        (here / f"{module}.py").write_text(f'open("{tmp_path}/ran", "w"); raise SystemExit("not what was meant")')
    (here / "spec.toml").write_text(SPEC.format(cluster="", epochs=1))
    settings = {
        "DASK_DISTRIBUTED__DASHBOARD__LINK": "{NOT_SET_HERE}/status",
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "not_installed",
        "DASK_TEMPORARY_DIRECTORY": "/proc/nowhere",
        "TMPDIR": str(temporary),
    }
    done = subprocess.run(
        [*COMMAND, "generate", "spec.toml", "--workers", "2"],
        cwd=here,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "4 complete" in done.stdout
    assert not (tmp_path / "ran").exists()
    assert list(theirs.iterdir()) == []
    assert [path.name for path in temporary.iterdir()] == ["dask-scratch-space"]


@pytest.mark.parametrize("value", ["nonsense", "", [5]])
def test_a_setting_of_theirs_that_is_none_is_one_sentence(value: object) -> None:
    with (
        dask.config.set({SILENCE: value}),
        pytest.raises(
            RequestError, match=r"Dask's setting distributed.scheduler.worker-ttl is .*: say a time, such as"
        ),
        pools.opened(Local(workers=1), "cpu", 1),
    ):
        pass


def test_the_environment_of_who_asks_stays_as_it_was(tmp_path: Path) -> None:
    before = dict(os.environ)
    with pools.opened(Local(workers=1), "cpu", 1) as pool:
        assert pool.client.submit(os.environ.get, "OMP_NUM_THREADS").result(timeout=60) == "1"
    before.setdefault("__DASK_PARENT_PID", str(os.getpid()))  # which Dask sets when it is imported
    assert dict(os.environ) == before
