"""Measures everything that tests/benchmarks/README.md reports: prints a table, writes JSON under results/.

    make bench                       all of it, about half an hour on two cores; nothing else may run meanwhile
    make bench ONLY=statistics,cli   some of it
    make bench DEVICE=cuda           what a GPU is for

Every ratio comes from one run; its two sides alternate, save where each has all cores in processes of its own. A value is the
median. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import baseline
import machine
import numpy as np

from generator import cluster, process, spec

RULES = ["sgdm", "adam", "fa", "ia"]
EPOCHS, CHECKPOINTS, PROBE, BATCH = 40, 21, 256, 128  # the fixed workload
HERE = Path(__file__).parent
DEVICE = "cpu"


@dataclass(frozen=True)
class Row:
    """One measured figure. A ratio says how many times better the engine is than `baseline`."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    target: str = ""


# -- whole pipeline ----------------------------------------------------------------------------------------------------
def pipeline() -> Iterator[Row]:
    """`rulescope generate`, from spec to Parquet, against the baselines; large against small datasets."""
    yield from _pipeline("mlp3", "digits", each=256, few=25, baselines=2, repeats=3, targets=("≥ 10", "≥ 4"))
    yield from _pipeline("knet4", "photos", each=8, few=0, baselines=1, repeats=2, targets=("≥ 3", "≥ 1.5"))


def _pipeline(
    architecture: str, task: str, each: int, few: int, baselines: int, repeats: int, targets: tuple[str, str]
) -> Iterator[Row]:
    def engine(each: int) -> Callable[[], tuple[float, float]]:
        def run() -> tuple[float, float]:
            text = baseline.workload(architecture, task, RULES, each, EPOCHS, CHECKPOINTS)
            seconds, memory = _generate(text, scratch / f"{architecture}{each}")
            return seconds / (each * len(RULES)), memory

        return run

    def one_by_one(kind: str) -> Callable[[], float]:
        return lambda: statistics.fmean(s for rule in RULES for s in train_baseline(kind, rule, threads, scratch))

    def side_by_side(kind: str) -> Callable[[], float]:
        def run() -> float:
            folders = [scratch / f"process{number}" for number in range(cores)]
            with ThreadPoolExecutor(cores) as pool:
                found = [list(pool.map(partial(train_baseline, kind, rule, 1), folders)) for rule in RULES]
            return statistics.fmean(s for rule in found for process in rule for s in process) / cores

        return run

    def train_baseline(kind: str, rule: str, threads: int, folder: Path) -> list[float]:
        folder.mkdir(exist_ok=True)
        arguments = (kind, architecture, task, rule, baselines, EPOCHS, CHECKPOINTS, threads, folder)
        return _baseline(*arguments, "--parquet")

    cores = cluster.default_workers()

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        threads, alone = _best_threads(architecture, task, scratch)
        yield Row(f"{architecture}: threads that suit the plain baseline", threads, "threads", alone)
        calls: dict[str, Callable[[], Any]] = {"engine": engine(each)}
        if few:
            calls["few"] = engine(few)
        calls |= {"plain": one_by_one("plain"), "tuned": one_by_one("tuned")}
        if cores > threads:  # one process at a time leaves cores idle
            calls |= {
                "plain, a process per core": side_by_side("plain"),
                "tuned, a process per core": side_by_side("tuned"),
            }
        found = machine.alternate(repeats, **calls)
        yield _equality(architecture, task, scratch, each, baselines)
    cost = {name: [v[0] if isinstance(v, tuple) else v for v in values] for name, values in found.items()}
    for kind, target in zip(
        [name for name in found if name not in ("engine", "few")], [*targets, "", ""], strict=False
    ):
        ratio = statistics.median(b / a for a, b in zip(cost["engine"], cost[kind], strict=True))
        name = f"{architecture} on {task}: spec → Parquet against {kind}{' (on the CPU)' if DEVICE == 'cuda' else ''}"
        median = statistics.median
        yield Row(name, median(cost["engine"]), "s/network", median(cost[kind]), ratio, target)
    if few:
        pairs = list(zip(found["engine"], found["few"], strict=True))
        label = f"{each * len(RULES):,} against {few * len(RULES)} networks"
        for index, (name, unit) in enumerate((("cost per network", "s"), ("peak memory, driver and workers", "MB"))):
            large, small = (statistics.median(pair[i][index] for pair in pairs) for i in (0, 1))
            growth = statistics.median(a[index] / b[index] for a, b in pairs)
            yield Row(f"{name}, {label}", large, unit, small, growth, "≤ 1.1")


def _generate(text: str, out: Path) -> tuple[float, float]:
    """Seconds of `rulescope generate` as a process of its own, and the peak of its memory, workers included, in MB."""
    import shutil

    shutil.rmtree(out, ignore_errors=True)
    file = out.with_suffix(".toml")
    file.write_text(text)
    command = [sys.executable, "-m", "rulescope", "generate", str(file), "--out", str(out), "--device", DEVICE]
    environment = {k: v for k, v in os.environ.items() if k not in process.environment()}
    start = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    peak = _watch_memory(running.pid)
    if running.wait() != 0:
        raise RuntimeError(f"{' '.join(command)} failed")
    return time.perf_counter() - start, peak() / 1e6


def _watch_memory(pid: int) -> Callable[[], float]:
    """Samples the memory of a process and its children until it is asked for the largest sum of their own peaks."""
    import psutil

    peaks: dict[int, int] = {}
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.2):
            try:
                root = psutil.Process(pid)
                for each in [root, *root.children(recursive=True)]:
                    peaks[each.pid] = max(peaks.get(each.pid, 0), each.memory_info().rss)
            except psutil.NoSuchProcess:
                continue

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()

    def total() -> float:
        stop.set()
        thread.join()
        return float(sum(peaks.values()))

    return total


def _baseline(
    kind: str,
    architecture: str,
    task: str,
    rule: str,
    networks: int,
    epochs: int,
    checkpoints: int,
    threads: int,
    save: Path,
    *flags: str,
) -> list[float]:
    """Seconds of each network, trained one at a time in a process of its own; importing and warming up not counted."""
    command = [sys.executable, str(HERE / "baseline.py"), kind, architecture, task, rule, *flags]
    numbers = {"networks": networks, "epochs": epochs, "checkpoints": checkpoints, "threads": threads, "save": save}
    for name, value in numbers.items():
        command += [f"--{name}", str(value)]
    # numpy's sort as fast as in the engine's workers; nothing else of their environment
    sort = {k: v for k, v in process.environment().items() if k.startswith("NPY")}
    threaded = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=threaded | sort)
    return json.loads(done.stdout)


def _best_threads(architecture: str, task: str, scratch: Path) -> tuple[int, float]:
    """The thread count at which the plain baseline is fastest, and its gain over the slowest."""
    cores = cluster.default_workers()
    taken = {
        threads: min(_baseline("plain", architecture, task, "sgdm", 2, 2, 3, threads, scratch))
        for threads in sorted({1, cores})
    }
    best = min(taken, key=lambda threads: taken[threads])
    return best, max(taken.values()) / taken[best]


def _equality(architecture: str, task: str, scratch: Path, each: int, baselines: int) -> Row:
    """Largest over rules of the median relative difference between engine and baseline; raises if they disagree."""
    import pandas as pd

    from generator.catalogue import NAMES

    rows = pd.read_parquet(scratch / f"{architecture}{each}" / "observables")
    worst = 0.0
    for member in spec.parse(baseline.workload(architecture, task, RULES, baselines, EPOCHS, CHECKPOINTS)).networks:
        ours = rows[rows["network_id"] == member.network_id].sort_values(["checkpoint", "layer_index"])
        if ours.empty:
            raise RuntimeError(f"network {member.network_id} of the baseline is not among the engine's")
        for kind in baseline.STATISTICS:
            saved = np.load(scratch / f"{kind}-{member.network_id}.npy")
            worst = max(worst, compare(ours[NAMES].to_numpy().reshape(saved.shape), saved))
    return Row(f"{architecture}: engine against baseline, median relative difference at any checkpoint", worst, "")


def compare(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest over checkpoints of the median relative difference of (checkpoints, layers, 45) statistics.

    Raises RuntimeError if they are not the same numbers: the first checkpoint within 1e-3, the medians within 1e-2 (rounding
    grows as networks learn), undefined ones in the same places.
    """
    if (np.isnan(ours) != np.isnan(theirs)).mean() > 1e-3:
        raise RuntimeError("engine and baseline differ in what is undefined")
    size = np.nan_to_num(np.abs(ours))
    difference = np.nan_to_num(np.abs(ours - theirs)) / np.maximum(size, 1e-3 * size.max(axis=0) + 1e-12)
    first, medians = float(difference[0].max()), np.median(difference, axis=(1, 2))
    if first > 1e-3 or medians.max() > 1e-2:
        raise RuntimeError(f"engine and baseline differ: {first:.1e} at first, medians up to {medians.max():.1e}")
    return float(medians.max())


# -- training alone ----------------------------------------------------------------------------------------------------
def training() -> Iterator[Row]:
    """Training steps alone as a share of the sgemm peak, and what observing adds."""
    cores = cluster.default_workers()
    for architecture, task, processes, target in (
        ("mlp3", "digits", 1, "≥ 60 %"),
        ("mlp3", "digits", cores, ""),
        ("knet4", "photos", 1, ""),
        ("knet4", "photos", cores, "≥ 70 %"),
    ):
        for rule in RULES:
            found = machine.together(processes, _training, architecture, task, rule)
            peak, done, seconds = (sum(each[i] for each in found) for i in (0, 1, 2))
            busy = "all cores busy" if processes > 1 else "one core"
            aim = target if rule == "sgdm" else ""
            name = f"{architecture} {rule}, {busy}: training, share of sgemm peak"
            yield Row(name, 100 * done / peak, "%", target=aim)
            if processes > 1:
                share = statistics.fmean(each[3] for each in found)
                yield Row(
                    f"{architecture} {rule}: observing, share of the fixed workload", 100 * share, "%", target="≤ 20 %"
                )
                yield Row(f"{architecture} {rule}: one step", 1e6 * seconds / processes, "µs/network")


def _training(wait: Callable[[], int], architecture: str, task: str, rule: str) -> tuple[float, float, float, float]:
    """Flops per second of sgemm and of training, seconds per step and network, and the share of observing."""
    from generator import cohort, planning

    text = baseline.workload(architecture, task, [rule], 64, EPOCHS, CHECKPOINTS)
    members = spec.parse(text).networks
    members = members[: planning.stack_size(members[0], "cpu", PROBE)]
    stack = cohort.Stack(members)
    stack.settle()
    stimuli, steps = stack.probe(PROBE), 4 if architecture.startswith("knet") else 60
    for step in range(3):
        stack.step(stack.batch(step))
    cohort.observe(stack, stimuli)
    peaks, learning, observing = [], [], []
    for repeat in range(7):
        wait()
        peaks.append(machine.sgemm(0.4))
        wait()
        start = time.perf_counter()
        for step in range(steps):
            stack.step(stack.batch(repeat * steps + step))
        learning.append((time.perf_counter() - start) / steps / len(members))
        wait()
        start = time.perf_counter()
        cohort.observe(stack, stimuli)
        observing.append((time.perf_counter() - start) / len(members))
    step_time, look = statistics.median(learning), statistics.median(observing)
    whole = members[0].steps * step_time + CHECKPOINTS * look
    return statistics.median(peaks), flops(members[0]) / step_time, step_time, CHECKPOINTS * look / whole


def flops(member: spec.NetworkSpec) -> float:
    """Arithmetic of one update: multiply-adds of all products × 2, convolutions counted with their padding.

    Forward, error × input for the weights, and the error sent down everywhere but to the input. Information alignment adds,
    for every layer but the first, one product with B and one for its gradient.
    """
    macs = [size.macs for size in member.sizes]
    above = sum(macs[1:])
    products = 2 * sum(macs) + above + (2 * above if member.rule.pathway == "ia" else 0)
    return 2.0 * member.batch_size * products


# -- every architecture × rule -----------------------------------------------------------------------------------------
def everywhere() -> Iterator[Row]:
    """All cores on one cohort each, against the tuned baseline at its best thread count, for a tenth of the workload."""
    from generator.architectures import ARCHITECTURES

    epochs, checkpoints, cores = 4, 3, cluster.default_workers()
    least: tuple[float, str] = (np.inf, "")
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ARCHITECTURES:
            task = "photos" if architecture.startswith("knet") else "digits"
            threads, _ = _best_threads(architecture, task, Path(folder))
            for rule in RULES:
                text = baseline.workload(architecture, task, [rule], 64, epochs, checkpoints)
                ours, theirs = [], []
                for _ in range(2):
                    ours.append(statistics.fmean(machine.together(cores, _cohort, text, checkpoints)) / cores)
                    arguments = (architecture, task, rule, 2, epochs, checkpoints, threads, Path(folder))
                    theirs.append(statistics.fmean(_baseline("tuned", *arguments)))
                ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
                least = min(least, (ratio, f"{architecture} {rule}"))
                name = f"{architecture} {rule}: against tuned"
                yield Row(name, statistics.median(ours), "s/network", statistics.median(theirs), ratio, "≥ 1")
    yield Row(
        f"no architecture × rule slower than tuned: the least is {least[1]}", least[0], "×", None, least[0], "≥ 1"
    )


def _cohort(wait: Callable[[], int], text: str, checkpoints: int) -> float:
    """Seconds per network of one cohort of the engine's own size."""
    from generator import cohort, planning

    members = spec.parse(text).networks
    members = members[: planning.stack_size(members[0], "cpu", PROBE)]
    for _ in cohort.train(members[:1], 2, PROBE):  # warm up
        break
    wait()
    start = time.perf_counter()
    for _ in cohort.train(members, checkpoints, PROBE):
        pass
    return (time.perf_counter() - start) / len(members)


# -- statistics --------------------------------------------------------------------------------------------------------
def observables() -> Iterator[Row]:
    """The 21 statistics of a (1588, 8192) float32 tensor."""
    if DEVICE == "cuda":
        return (yield from _observables_on_gpu())
    (found,) = machine.together(1, _statistics, 1)
    yield from _statistics_rows("one thread each", found, "≥ 20")
    pair = machine.together(cluster.default_workers(), _statistics, 0)
    (best,) = machine.together(1, _statistics, cluster.default_workers())
    engine = statistics.fmean(each["engine"] for each in pair) / len(pair)
    yield Row("21 statistics of (1588, 8192): all cores each", engine, "s", best["plain"], best["plain"] / engine)


def _statistics_rows(label: str, found: dict[str, float], target: str) -> Iterator[Row]:
    for kind, aim in (("plain", target), ("tuned", "")):
        ratio = found[kind] / found["engine"]
        yield Row(
            f"21 statistics of (1588, 8192), {label}: against {kind}", found["engine"], "s", found[kind], ratio, aim
        )
    yield Row("largest relative difference to plain", found["difference"], "")


def _statistics(wait: Callable[[], int], threads: int) -> dict[str, float]:
    """Median seconds of the engine and, unless `threads` is 0, of the baselines with so many threads."""
    import torch

    from generator.observables import tensor_statistics

    x = torch.randn(1588, 8192, generator=torch.Generator().manual_seed(0))
    calls: dict[str, Callable[[], float]] = {"engine": lambda: machine.timed(lambda: tensor_statistics(x))}
    if threads:
        torch.set_num_threads(threads)
        for kind, function in baseline.STATISTICS.items():
            calls[kind] = lambda function=function: machine.timed(lambda: function(x))  # type: ignore[misc]
    wait()
    found = {name: statistics.median(times) for name, times in machine.alternate(5, **calls).items()}
    if threads:
        ours, theirs = tensor_statistics(x), baseline.plain(x)
        found["difference"] = float(((ours - theirs).abs() / ours.abs().clamp(min=1e-2)).max())
        if found["difference"] > 1e-2:
            raise RuntimeError(f"the statistics differ: {found['difference']}")
    return found


def _observables_on_gpu() -> Iterator[Row]:
    import torch

    from generator.observables import tensor_statistics

    x = torch.randn(1588, 8192, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    tensor_statistics(x)
    calls = {"engine": lambda: machine.timed(lambda: tensor_statistics(x), "cuda")}
    calls["plain"] = lambda: machine.timed(lambda: baseline.plain(x), "cuda")
    found = {name: statistics.median(times) for name, times in machine.alternate(7, **calls).items()}
    once = 4 * x.numel() / machine.copying("cuda")
    yield Row("21 statistics of (1588, 8192)", found["engine"], "s", found["plain"], found["plain"] / found["engine"])
    yield Row("… in readings of the tensor at copy bandwidth", found["engine"] / once, "passes")


# -- the classifier and the command line -------------------------------------------------------------------------------
def classifier() -> Iterator[Row]:
    """Trajectories from a million rows, against pandas; a stored model's importances."""
    import pandas as pd

    from classifier import trajectories
    from generator.catalogue import NAMES

    with tempfile.TemporaryDirectory() as folder:
        location = Path(folder) / "million"
        rows = _million_rows(location)

        def ours() -> float:
            return machine.timed(lambda: trajectories.load(location))

        def pandas() -> float:
            def pivot() -> None:
                table = pd.read_parquet(location / "observables")
                table.pivot(index=["network_id", "layer"], columns="checkpoint", values=NAMES).to_numpy()

            return machine.timed(pivot)

        found = machine.alternate(3, ours=ours, pandas=pandas)
        a, b = (statistics.median(found[name]) for name in ("ours", "pandas"))
        yield Row(f"trajectories from {rows:,} rows against pandas' pivot", a, "s", b, b / a, "≥ 10")


def _million_rows(location: Path, networks: int = 15_904, per_file: int = 16) -> int:
    """A dataset of noise, through the real contract: 3 layers, 21 checkpoints."""
    import pyarrow as pa

    from generator import dataset as contract

    rng = np.random.default_rng(0)
    ids = [f"{i:016x}" for i in range(networks)]
    groups = [ids[i : i + per_file] for i in range(0, networks, per_file)]
    dataset = contract.Dataset(location)
    cohorts = [contract.Cohort(f"c{i}", tuple(group)) for i, group in enumerate(groups)]
    dataset.record_cohorts({"root_seed": 0, "checkpoints": CHECKPOINTS}, cohorts)
    total = 0
    for cohort, group in zip(cohorts, groups, strict=True):
        n = len(group) * 3 * CHECKPOINTS
        total += n
        layer = np.tile(np.repeat(np.arange(3), CHECKPOINTS), len(group))
        known = {
            "network_id": np.repeat(group, 3 * CHECKPOINTS),
            "configuration": np.repeat(group, 3 * CHECKPOINTS),
            "rule": np.repeat([RULES[int(name, 16) % 4] for name in group], 3 * CHECKPOINTS),
            "layer": np.array(["fc1", "fc2", "fc3"])[layer],
            "layer_index": layer,
            "depth": np.array(["early", "middle", "deep"])[layer],
            "checkpoint": np.tile(np.arange(CHECKPOINTS), 3 * len(group)),
            "electrode": np.full(n, "full"),
        }
        dataset.publish_table(f"observables/{cohort.name}.parquet", _table(pa, contract.OBSERVABLES, known, n, rng))
        known = {"network_id": np.array(group), "status": np.full(len(group), "complete")}
        known |= {"layers": np.full(len(group), 3), "checkpoints": np.full(len(group), CHECKPOINTS)}
        dataset.publish_table(f"networks/{cohort.name}.parquet", _table(pa, contract.NETWORKS, known, len(group), rng))
    return total


def _table(pa: Any, schema: Any, known: dict[str, np.ndarray], n: int, rng: np.random.Generator) -> Any:
    """Columns as given; others are noise if they are numbers, and "x" if not."""
    columns = []
    for field in schema:
        if field.name in known:
            values = known[field.name]
        elif pa.types.is_floating(field.type):
            values = rng.standard_normal(n)
        else:
            values = np.zeros(n, int) if pa.types.is_integer(field.type) else np.full(n, "x")
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        array = pa.array(values.astype(plain.to_pandas_dtype()) if plain != pa.string() else values, plain)
        columns.append(array.dictionary_encode() if pa.types.is_dictionary(field.type) else array)
    return pa.Table.from_arrays(columns, schema=schema)


def cli() -> Iterator[Row]:
    """How long a person waits for an answer that needs no computing."""
    text = baseline.workload("mlp2", "digits", RULES, 4, 3, 5).replace("[[grid]]", "[[grid]]\nseeds = 2")
    with tempfile.TemporaryDirectory() as folder:
        file, data, model = (Path(folder) / name for name in ("s.toml", "data", "model"))
        file.write_text(text)
        _rulescope("generate", file, "--out", data)
        _rulescope("train", data, "--model", "forest", "--out", model)
        for name, arguments, target in (
            ("rulescope importance MODEL", ("importance", model), "≤ 1"),
            ("rulescope --help", ("--help",), "≤ 0.3"),
            ("rulescope plan SPEC", ("plan", file), ""),
            ("rulescope status DATASET", ("status", data), ""),
        ):
            found = statistics.median(_rulescope(*arguments) for _ in range(9))
            yield Row(name, found, "s", target=target)


def _rulescope(*arguments: Any) -> float:
    command = [sys.executable, "-m", "rulescope", *map(str, arguments)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


# -- floors ------------------------------------------------------------------------------------------------------------
def floors() -> Iterator[Row]:
    """What the machine can do at best."""
    cores = cluster.default_workers()
    if DEVICE == "cuda":
        yield Row("copy, read + written", machine.copying("cuda") / 1e9, "GB/s")
        return
    for processes in sorted({1, cores}):
        found = machine.together(processes, _floor)
        busy = "all cores" if processes > 1 else "one core"
        yield Row(f"sgemm, {busy}", sum(peak for peak, _ in found) / 1e9, "GF/s")
        yield Row(f"copy, read + written, {busy}", sum(copy for _, copy in found) / 1e9, "GB/s")


def _floor(wait: Callable[[], int]) -> tuple[float, float]:
    wait()
    peak = machine.sgemm(2.0)
    wait()
    return peak, machine.copying()


# -- the command -------------------------------------------------------------------------------------------------------
SECTIONS: dict[str, Callable[[], Iterable[Row]]] = {
    "floors": floors,
    "statistics": observables,
    "training": training,
    "everywhere": everywhere,
    "classifier": classifier,
    "cli": cli,
    "pipeline": pipeline,
}
ON_GPU = ("floors", "statistics", "pipeline")


def main() -> None:
    """Measure, print, store."""
    global DEVICE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"some of {', '.join(SECTIONS)}, comma-separated")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, help="where the JSON goes; by default results/<hardware>.json")
    arguments = parser.parse_args()
    DEVICE = arguments.device
    chosen = [name for name in arguments.only.split(",") if name] or list(SECTIONS if DEVICE == "cpu" else ON_GPU)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"unknown section {sorted(unknown)[0]!r}; known: {', '.join(SECTIONS)}")
    hardware, versions = machine.hardware(DEVICE), dict(machine.versions())
    file = (
        arguments.out
        or HERE / "results" / f"{'-'.join(''.join(c if c.isalnum() else ' ' for c in hardware).split())}.json"
    )
    kept = json.loads(file.read_text()) if file.exists() else []
    print(f"{hardware}\n")
    print(f"{'':<86}{'value':>12}  {'unit':<10}{'baseline':>12}{'ratio':>8}  target")
    for section in chosen:
        rows = []
        for row in SECTIONS[section]():
            other = "" if row.baseline is None else f"{row.baseline:.4g}"
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            print(f"{row.name:<86}{row.value:>12.4g}  {row.unit:<10}{other:>12}{ratio:>8}  {row.target}", flush=True)
            rows.append({"section": section, **asdict(row), "hardware": hardware, "versions": versions})
        kept = [each for each in kept if each["section"] != section] + rows
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
