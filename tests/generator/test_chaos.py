"""A dataset under faults of every kind equals an undisturbed one, byte for byte.

Two faults per place by default; RULESCOPE_CHAOS=4 for four rounds of all kinds, sixty faults (figures: tests/README.md).
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from chaos import Campaign, Place, Queue, RunningScheduler
from datasets_equal import contents
from test_slurm import runs as slurm_runs

from generator.dataset.storage import Dataset
from generator.running.generate import generate
from generator.running.verify import problems
from generator.spec import spec

ROUNDS = int(os.environ.get("RULESCOPE_CHAOS", "0"))
SEED = int(os.environ.get("RULESCOPE_SEED", "0"))
SPEC = 'name = "x"\ncheckpoints = 6\nprobe = 64\n[snapshots]\n[[grid]]\ntask = "digits"\narchitecture = ["mlp3", "knet4"]\n'
SPEC += 'rule = ["sgdm", "adam", "fa", "ia", "dfa"]\nlearning_rate = [0.5, 1.0]\nbatch_size = {}\nepochs = {}\n'


def planned(campaign: Campaign) -> list[tuple[Place, list[str]]]:
    """Visits to each place, with the faults there in any order. A driver's death comes last, where its jobs survive it."""
    places = [Place(campaign), RunningScheduler(campaign), *([Queue(campaign)] if slurm_runs() else [])]
    plan = []
    for _ in range(max(ROUNDS, 1)):
        for place in campaign.random.sample(places, len(places)):
            faults = campaign.random.sample(place.faults, len(place.faults))
            if ROUNDS == 0:
                faults = [fault for fault in faults if fault != "time over"][:2]
            if isinstance(place, Queue):
                faults.sort(key=lambda fault: fault == "driver killed")
            plan.append((place, faults))
    return plan


@pytest.mark.slow
@pytest.mark.timeout(1500 if ROUNDS == 0 else 0)
def test_faults_change_no_byte_and_lose_no_network(tmp_path: Path) -> None:
    text = SPEC.format([32, 64], 5) if ROUNDS == 0 else SPEC.format([8, 16, 24, 32, 48, 64, 96, 128], 18)
    parsed = spec.parse(text)
    started = time.monotonic()
    generate(parsed, tmp_path / "undisturbed", workers=2)
    undisturbed = time.monotonic() - started
    (tmp_path / "x.toml").write_text(text)
    campaign = Campaign(tmp_path, SEED)
    started = time.monotonic()
    campaign.run(planned(campaign))
    dataset = Dataset(tmp_path / "x")
    assert contents(tmp_path / "x") == contents(tmp_path / "undisturbed")
    assert problems(dataset) == []
    recorded = pq.read_table(tmp_path / "x" / "networks.parquet").to_pydict()
    assert sorted(recorded["network_id"]) == sorted(network.network_id for network in parsed.networks)
    assert recorded["status"] == pq.read_table(tmp_path / "undisturbed" / "networks.parquet")["status"].to_pylist()
    assert not list((tmp_path / "x").rglob("*.staged"))
    assert not list((tmp_path / "x" / "_inflight").iterdir())
    assert not (tmp_path / "x" / "driver.json").exists()
    lines = "".join(path.read_text() for path in (tmp_path / "x" / "log").glob("*.jsonl")).splitlines()
    events = Counter(json.loads(line)["event"] for line in lines)
    for (place, fault), count in sorted(campaign.faults.items()):
        print(f"{place:<10} {fault:<16} {count}")
    cohorts = len(dataset.cohorts())
    seconds = time.monotonic() - started
    print(f"{campaign.faults.total()} faults, {campaign.drivers} drivers, {cohorts} cohorts, {dict(events)}")
    print(f"undisturbed {undisturbed:.0f} s, under faults {seconds:.0f} s")
