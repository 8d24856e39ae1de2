"""The generator's commands, in the order of work. Heavy imports wait until a command runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from generator.console import Shown

if TYPE_CHECKING:
    from generator.running.generate import Done
    from generator.running.status import Recorded
    from generator.running.work import Receipt

MOST_RULES = 12  # that have a column each
LINE_SECONDS = 60.0  # between two lines of progress where there is no terminal

SpecFile = Annotated[
    str,
    typer.Argument(
        help="The dataset spec: a TOML file, a dataset's folder or URI, or the name of one that comes along, such as demo.",
        metavar="SPEC",
    ),
]
DatasetFolder = Annotated[str, typer.Argument(help="The dataset's folder or URI.", metavar="DATASET")]


def register(app: typer.Typer) -> None:
    """Add the generator's commands to the command line."""
    for command, example in (
        (plan, "rulescope plan datasets/demo.toml"),
        (generate, "rulescope generate datasets/demo.toml --workers 4"),
        (status, "rulescope status datasets/demo"),
        (verify, "rulescope verify datasets/demo"),
        (rerun, "rulescope rerun datasets/demo 3f2a"),
        (merge, "rulescope merge datasets/both datasets/demo datasets/other"),
        (compact, "rulescope compact datasets/demo"),
        (record, "rulescope record monkey.nwb --stimulus target --windows 20 --out datasets/monkey"),
        (match, "rulescope match datasets/monkey atlas --out atlas-monkey.toml"),
    ):
        app.command(rich_help_panel="From a spec to a dataset", epilog=f"Example: {example}")(command)


def plan(spec: SpecFile) -> None:
    """Print what a spec amounts to: networks, layers, examples, cohorts, estimated time and disk. Runs nothing."""
    from generator.cores import cores
    from generator.spec import planning
    from generator.spec import spec as specs

    found = planning.plan(specs.read(spec))
    console = Shown()
    if found.counts:
        table, sentences = _planned(found.counts, found.layers)
        console.table(f"networks of {found.name}", table)
        for sentence in sentences:
            console.print(sentence, soft_wrap=True)
    for sample in found.samples:
        table = [["axis", "low", "median", "high", "counts"]]
        for axis in sample.axes:
            numbers = (
                "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
                for value in (axis.low, axis.median, axis.high)
            )
            table.append([axis.name, *numbers, axis.words])
        console.table(f"what sample {sample.name} of {found.name} drew", table)
        for sentence in sample.sentences:
            console.print(sentence, soft_wrap=True)
    console.print(
        f"{found.networks:,} networks in {found.cohorts:,} cohorts, {found.examples:,} examples (network × layer), "
        f"{found.electrodes:,} electrodes, {found.rows:,} rows, about {found.bytes / 1e6:,.0f} MB",
        soft_wrap=True,
    )
    workers = cores()
    console.print(
        f"about {planning.duration(found.core_seconds / workers)} with {workers} CPU workers (an estimate)",
        soft_wrap=True,
    )
    for sentence in found.shortages:
        console.print(sentence, soft_wrap=True)
    for sentence in found.missing:
        console.print(f"before it can start: {sentence}", soft_wrap=True)


def _planned(
    counts: Mapping[tuple[str, str, str, str], int], layers: Mapping[tuple[str, str], int]
) -> tuple[list[list[str]], list[str]]:
    """Networks by architecture, task and objective, a column per rule; of many rules one per group that is everywhere alike."""
    where = list(dict.fromkeys(key[1:] for key in counts))
    alike: dict[tuple[int, ...], list[str]] = {}
    for rule in dict.fromkeys(rule for rule, *_ in counts):
        alike.setdefault(tuple(counts.get((rule, *each), 0) for each in where), []).append(rule)
    if sum(map(len, alike.values())) > MOST_RULES:
        columns = {f"each of {len(group)} rules, such as {group[0]}": of for of, group in alike.items()}
        sentences = [f"{len(group)} rules: {', '.join(group)}" for group in alike.values()]
    else:
        columns = {rule: of for of, group in alike.items() for rule in group}
        sentences = []
    table = [["architecture", "layers", "task", "objective", *columns]]
    for at, (architecture, *rest) in enumerate(where):
        table.append(
            [architecture, str(layers[architecture, rest[1]]), *rest, *(str(of[at]) for of in columns.values())]
        )
    return table, sentences


def rules(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Every learning rule there is: a pathway × an update, each with its family, its costs, its needs and its source."""
    import json

    from generator.rules import declared

    found = declared()
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    console = Shown()
    for axis in ("pathway", "update"):
        table = [["name", "family", "local", "needs", "flops", "parameters", "source", "meaning"]]
        for one in found:
            if one["axis"] == axis:
                needs = ["labels"] * one["labels"] + ["dense layers"] * one["dense"]
                needs += [" or ".join(one[kind]) for kind in ("nonlinearities", "architectures")]
                said = ("yes" if one["local"] else "", ", ".join(filter(None, needs)))
                parameters = ", ".join(f"{name} {value:g}" for name, value in one["parameters"].items())
                table.append(
                    [one["name"], one["family"], *said, one["flops"], parameters, one["source"], one["meaning"]]
                )
        console.table(f"{axis}s", table)
    console.print(
        f"{len(found)} in all; a rule is any pathway with any update, pathway+update. flops: operations in products, as a "
        "multiple of backpropagation with sgd",
        soft_wrap=True,
    )


def generate(
    spec: SpecFile,
    out: Annotated[str | None, typer.Option(help="Where to; by default a folder of the spec's name beside it.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Local worker processes; 0 runs in this one; by default one per core, or per GPU; none for a moment's run."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    cluster: Annotated[
        str | None,
        typer.Option(
            help="local, slurm, a Dask scheduler's address or file (.json), or a site file (.toml); "
            "by default the spec's \\[cluster], or local."
        ),
    ] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and with what, instead.")] = False,
) -> None:
    """Make the dataset of a spec, or go on where it was left."""

    from generator.clusters import process

    with process.uninterrupted():
        from generator.running.generate import dry_run
        from generator.running.generate import generate as run

    console = Shown()
    if dry:
        for line in dry_run(spec, out, workers, device, cluster):
            typer.echo(line)
        return
    progress = _Progress(console)
    try:
        with progress:
            summary = run(spec, out, workers, device, progress.watch, cluster, progress.say)
    except KeyboardInterrupt:
        console.print(f"{progress.done()}; the same command goes on where it stopped", soft_wrap=True)
        raise
    states = ", ".join(f"{count:,} {status}" for status, count in sorted(summary.states.items()))
    console.print(
        f"{summary.location}: {summary.networks:,} networks ({states}), {summary.done_now:,} of them done now",
        soft_wrap=True,
    )
    for sentence in summary.shortages:
        console.print(sentence, soft_wrap=True)
    for failure in summary.failures:
        console.print(f"failed: {failure}", soft_wrap=True)
    if summary.failures:
        raise typer.Exit(1)


def status(dataset: DatasetFolder) -> None:
    """Print how far a dataset is, from its files alone: who makes it, how fast, how much longer, what failed."""
    from generator.dataset.storage import Dataset
    from generator.running.status import ago
    from generator.running.status import status as look
    from generator.spec import planning

    found = look(Dataset(dataset))
    console = Shown()

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    if found.recording is not None:
        _of_recording(found.recording, dataset, console)
        return
    say(
        f"{found.complete:,} of {found.cohorts:,} cohorts complete, "
        f"{found.recorded:,} of {found.networks:,} networks recorded"
    )
    if found.outdated:
        say(found.outdated)
    if found.driver:
        say(f"made by process {found.driver['pid']} on {found.driver['host']}, alive {ago(found.driver['at'])}")
        for sign in found.training:
            job = f", job {sign['job']}" if "job" in sign else ""
            say(f"  in training since {sign['begun'][:19]}Z on {sign['host']}{job}: {sign['cohort']}")
    elif found.complete < found.cohorts and not found.outdated:
        say("nobody is making it; `rulescope generate` goes on with it")
    if found.cut_short:
        say("a compaction was cut short: until `rulescope compact` ends it, other programs may find rows twice")
    if found.rate is not None and found.complete < found.cohorts:
        left = "" if found.left is None else f", about {planning.duration(found.left)} left (an estimate)"
        say(f"lately {found.rate:.2g} networks per second{left}")
    table = [["rule", found.by, "planned", "complete", "diverged", "failed"]]
    for (rule, kind), planned in sorted(found.planned.items()):
        states = found.states.get((rule, kind), {})
        counts = [f"{states.get(name, 0):,}" for name in ("complete", "diverged", "failed")]
        table.append([rule, kind, f"{planned:,}", *counts])
    console.table(f"networks of {dataset}", table)
    for reason, networks in found.failures.items():
        say(f"{networks:,} networks failed: {reason}")


def _of_recording(found: Recorded, dataset: str, console: Shown) -> None:
    """Print what a dataset says of its recording."""
    about = found.about
    met = "the same units in every session" if about.followed else "other units in every session"
    known = f"; values are known up to {' and '.join(about.up_to)}" if about.up_to else ""
    console.print(
        f"a recording, {about.name}: {about.sessions} sessions of {about.stimuli} stimuli, {met}{known}", soft_wrap=True
    )
    table = [["area", "units", "noise"]]
    for area in about.areas:
        low, high = found.units.get(area, (0, 0))
        units = "" if not high else f"{low:,}" if low == high else f"{low:,} to {high:,}"
        noise = about.noise[area]
        table.append([area, units, "not known" if noise is None else f"{noise:.2g}"])
    console.table(f"areas of {dataset}", table)
    if not found.units:
        console.print("its files are not complete; what wrote it goes on with it", soft_wrap=True)
    for note in about.notes:
        console.print(note, soft_wrap=True)


def verify(dataset: DatasetFolder) -> None:
    """Check every file and every network of a dataset against its spec; exit status 1 if there is any problem."""
    from generator.dataset.storage import Dataset
    from generator.running.verify import problems as find

    opened = Dataset(dataset)
    problems = find(opened)
    for problem in problems:
        typer.echo(problem)
    if problems:
        typer.echo(f"{len(problems)} problems found")
        raise typer.Exit(1)
    what = "a recording" if opened.recording else f"{opened.networks():,} networks"
    typer.echo(f"{opened}: {what}, no problem found")
    if outdated := opened.outdated():
        typer.echo(outdated)


def rerun(
    dataset: DatasetFolder,
    network: Annotated[str, typer.Argument(help="Its network_id, or the beginning of it.", metavar="NETWORK_ID")],
    out: Annotated[str | None, typer.Option(help="Where to; by default DATASET/reruns/NETWORK_ID.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Train one network of a dataset again and keep its raw tensors at every checkpoint."""
    from generator.curricula.pinned import shown
    from generator.running.rerun import rerun as run

    found = run(dataset, network, out, device)
    about = found.network
    typer.echo(
        f"{found.folder}: {about.network_id}, {about.rule.label} in {about.architecture} on {shown(about.data)}, "
        f"{found.checkpoints} checkpoints"
    )
    if found.difference == found.difference:  # else the dataset has no numbers of it
        typer.echo(f"largest difference from the dataset's statistics: {found.difference:.1e} of a statistic's size")


def merge(
    out: Annotated[str, typer.Argument(help="The new dataset's folder or URI.", metavar="OUT")],
    datasets: Annotated[list[str], typer.Argument(help="Two or more datasets.", metavar="DATASET...")],
) -> None:
    """Put datasets that agree in everything but their grids together into a new one."""
    from generator.running.merge import merge as run

    merged = run(out, datasets)
    typer.echo(f"{merged}: {merged.networks():,} networks from {len(datasets)} datasets")


def compact(dataset: DatasetFolder) -> None:
    """Put a dataset's many small files together in few large ones, which are read many times faster. Rows stay as they are."""
    from generator.running.compact import compact as run

    found = run(dataset)
    if found.after == found.before:
        typer.echo(f"{found.location}: nothing to put together (files of observables: {found.after:,})")
    else:
        typer.echo(
            f"{found.location}: {found.cohorts:,} cohorts put together, in {found.after:,} files of observables and as many of "
            f"networks, where there were {found.before:,}"
        )


def record(
    files: Annotated[
        list[str],
        typer.Argument(help="Arrays (.npz), tables (.csv, .csv.gz, .parquet) or NWB (.nwb).", metavar="FILE..."),
    ],
    out: Annotated[str, typer.Option(help="Where to: the dataset's folder or URI.")],
    values: Annotated[
        str,
        typer.Option(
            help="What was measured, with commas: arrays (npz), a column (tables), Units or series such as "
            "DfOverF/RoiResponseSeries (NWB)."
        ),
    ] = "",
    stimulus: Annotated[
        str, typer.Option(help="The column of what was shown, or an array for each of --values, with commas.")
    ] = "",
    session: Annotated[str | None, typer.Option(help="The column, or the array, of sessions.")] = None,
    windows: Annotated[
        int | None, typer.Option(help="Instead of --session: so many windows of trials that follow each other.")
    ] = None,
    trial: Annotated[
        str, typer.Option(help="The column of trials, or an array for each of --values, with commas.")
    ] = "",
    unit: Annotated[str | None, typer.Option(help="The column of units (tables).")] = None,
    area: Annotated[
        str | None, typer.Option(help="The column, or the array, that says in which area a unit lies.")
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help="The order of the axes of arrays (npz), such as stimuli,units,sessions.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="The array that says what each stimulus is one of (npz).")] = None,
    bins: Annotated[
        str | None,
        typer.Option(help="From when to when a trial is read (NWB), in seconds after its start, such as 0.1,0.6."),
    ] = None,
    followed: Annotated[
        bool | None,
        typer.Option(
            "--followed/--not-followed",
            help="Whether a unit keeps its place over sessions; by default within one file, and not over several.",
        ),
    ] = None,
    up_to: Annotated[str, typer.Option(help="What units are known up to, with commas: rotation, baseline.")] = "",
    name: Annotated[str | None, typer.Option(help="What it is called; by default as the first file.")] = None,
) -> None:
    """Make a dataset of a recording: what was measured over sessions of something whose rule nobody knows."""
    from generator.recordings.files import How, read
    from generator.recordings.written import write

    recording = read(
        files,
        How(
            values=_listed(values),
            stimulus=_listed(stimulus),
            session=session,
            trial=_listed(trial),
            unit=unit,
            area=area,
            windows=windows,
            axes=axes,
            bins=None if bins is None else _span(bins),
            followed=followed,
            up_to=_listed(up_to),
            name=name,
            classes=classes,
        ),
    )
    write(recording, out)
    console = Shown()
    for note in recording.notes:
        console.print(note, soft_wrap=True)
    units = []
    for one in recording.areas:
        counts = sorted({y.shape[1] for y in one.activity})
        many = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        noise = ""
        if one.noise is not None:
            noise = (
                f" (noise {one.noise:.2g} of the signal)" if one.noise < float("inf") else " (no signal above noise)"
            )
        units.append(f"{many} units of {one.name}{noise}")
    console.print(
        f"{out}: {recording.sessions:,} sessions, {recording.stimuli:,} stimuli, {', '.join(units)}", soft_wrap=True
    )


def match(
    recording: Annotated[str, typer.Argument(help="The dataset of a recording.", metavar="RECORDING")],
    spec: SpecFile,
    out: Annotated[str, typer.Option(help="Where to: a spec, .toml.", metavar="FILE")],
) -> None:
    """Write a spec whose networks are measured just as a recording was: its units, noise, stimuli, sessions and observables."""
    from pathlib import Path

    from generator.cores import cores
    from generator.dataset.folder import check_writable
    from generator.dataset.storage import Dataset
    from generator.recordings.matched import matched
    from generator.spec import planning
    from generator.spec import spec as specs

    check_writable(out)
    found = matched(Dataset(recording), specs.read(spec))
    Path(out).write_text(found.to_toml(), encoding="utf-8")
    planned, workers = planning.plan(found), cores()
    Shown().print(
        f"{out}: {planned.networks:,} networks, about {planning.duration(planned.core_seconds / workers)} with {workers} CPU "
        f"workers (an estimate): `rulescope generate {out}` makes them",
        soft_wrap=True,
    )


def _listed(text: str) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(filter(None, (one.strip() for one in text.split(","))))


def _span(text: str) -> tuple[float, float]:
    """Two numbers between commas. Raises RequestError for anything else."""
    from generator.errors import RequestError

    try:
        start, stop = map(float, text.split(","))
    except ValueError as error:
        raise RequestError(f"bins are two numbers of seconds, such as 0.1,0.6, not {text!r}") from error
    return start, stop


class _Progress:
    """How far a run is: a live line on a terminal, and elsewhere, in a log, say, a plain one now and then."""

    def __init__(self, console: Shown) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.fields[networks]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("of the work,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            speed_estimate_period=120,
        )
        self.task = self.bar.add_task("work", total=None, networks="")
        self.diverged, self.far, self.shown = 0, "nothing was begun", time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar.live.is_started:
            self.bar.stop()

    def done(self) -> str:
        """How far it is."""
        return self.far

    def say(self, text: str) -> None:
        """A line above the bar."""
        self.bar.console.print(text, soft_wrap=True)

    def watch(self, done: Done, receipt: Receipt | None) -> None:
        """Show a receipt, or who works by now; begin with neither, once the request has been found good."""
        if receipt is not None:
            self.diverged += receipt.states.get("diverged", 0)
        self.far = f"{done.networks:,} of the {done.of_networks:,} networks left to do are done"
        rate = f", {done.networks / elapsed:.1f}/s" if (elapsed := self.bar.tasks[0].elapsed) and done.networks else ""
        networks = f"{done.networks:,}/{done.of_networks:,} networks{rate}, {self.diverged:,} diverged"
        networks += f", {done.crew}" * bool(done.crew)
        self.bar.update(self.task, completed=done.cost, total=done.of_cost, networks=networks)
        if self.bar.console.is_terminal:
            self.bar.start()  # once
        elif (receipt is not None or done.crew) and time.monotonic() - self.shown >= LINE_SECONDS:
            self.shown = time.monotonic()
            self.say(f"{networks}, {done.cost / done.of_cost:.0%} of the work")
