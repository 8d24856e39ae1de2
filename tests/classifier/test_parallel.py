"""No more threads than cores, whoever starts them; and what is computed does not depend on how many there are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from asked import evaluate

from classifier.examples.trajectories import load
from classifier.models import parallel, problem
from generator import cores as counting


def test_as_many_calls_at_a_time_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 3)
    together = threading.Barrier(3)  # it is passed by three who wait at once, and by no fewer
    beside, most, lock = 0, 0, threading.Lock()

    def call(number: int) -> int:
        nonlocal beside, most
        with lock:
            beside += 1
            most = max(most, beside)
        together.wait(timeout=60)
        with lock:
            beside -= 1
        return number

    assert list(parallel.here(call, ((number,) for number in range(12)))) == list(range(12))
    assert most == 3


@pytest.mark.parametrize("outer", [parallel.here, lambda function, calls: [parallel.alone(function, 0, ())]])
def test_a_call_inside_another_stays_on_its_thread(outer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this process, or of a cluster's worker, beside which others have the other cores."""
    monkeypatch.setattr(parallel, "cores", lambda: 3)

    def call(_: int) -> bool:
        return {threading.get_ident()} == set(parallel.here(threading.get_ident, [()] * 12))

    assert callable(outer)
    assert all(outer(call, [(number,) for number in range(3)]))


def test_results_do_not_depend_on_the_number_of_cores(traced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem, "CHUNK", 50)
    examples, features = load(traced), "relative+shape@less_mean"
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(parallel, "cores", lambda cores=cores: cores)
        table = problem.feature_table(examples, features)
        models = ["svm", "forest", "xgboost", "conv"]
        found.append((table, evaluate(examples, models, [features], n_splits=1, permute_labels=2)))
    (one, alone), (other, beside) = found
    np.testing.assert_array_equal(one, other)
    assert alone == beside


@pytest.mark.parametrize(("quota", "told"), [(1, {}), (2, dict.fromkeys(counting.VARIABLES, "1"))])
def test_libraries_start_as_many_threads_as_a_control_group_gives_cores(
    quota: int, told: dict[str, str], traced: Path, tmp_path: Path
) -> None:
    """Or as many as they are told to."""
    (tmp_path / "cpu.max").write_text(f"{quota}00000 100000\n")
    (tmp_path / "cgroup").write_text("0::/\n")
    code = f"""if True:
        import json, os, pathlib, sys
        from generator import cores
        root = pathlib.Path({str(tmp_path)!r})
        cores.GROUPS, cores.MINE = root, root / "cgroup"
        os.sched_getaffinity = lambda process: set(range(8))
        import rulescope
        try:
            rulescope.main()
        except SystemExit as left:
            assert not left.code
        import pyarrow, torch
        from threadpoolctl import threadpool_info
        pools = {{pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}}
        print(json.dumps([cores.cores(), pyarrow.cpu_count(), torch.get_num_threads(), *pools.values()]), file=sys.stderr)"""
    asked = ["evaluate", traced, "--models", "conv,xgboost", "--features", "relative", "--n-splits", "1"]
    environment = {name: value for name, value in os.environ.items() if name not in counting.VARIABLES}
    done = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True, env=environment | told)
    assert done.returncode == 0, done.stderr
    cores, *threads = json.loads(done.stderr.splitlines()[-1])
    assert (cores, set(threads)) == (quota, {1})
    assert len(threads) > 3
