"""Where cohorts run: what `--cluster` and `[cluster]` may say, what they come to, and the sentence for what they may not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from generator.clusters import site
from generator.clusters.contract import Pool
from generator.clusters.local import Local
from generator.clusters.scheduler import Scheduler
from generator.clusters.slurm import Slurm, job_script
from generator.errors import RequestError
from generator.running.generate import dry_run, generate
from generator.spec.spec import parse

SPEC = 'name = "x"\ncheckpoints = 4\nprobe = 32\n[[grid]]\ntask = "digits"\narchitecture = "mlp2"\n'
SPEC += 'rule = ["sgdm", "fa"]\nepochs = 3\n'
QUEUE = """[cluster]
kind = "slurm"
partition = "gpu"
account = "neuro"
walltime = "1-02:00:00"
cores = 8
gpus = 2
workers_per_gpu = 3
memory = "60 GiB"
jobs = 10
directives = ["--constraint=a100", "--requeue"]
setup = ["module load python", "source ~/env/bin/activate"]
interface = "ib0"
python = "/opt/python"
"""


def test_what_the_option_may_name(tmp_path: Path) -> None:
    table = {"kind": "slurm", "jobs": 3}
    assert site.choose(None, None) == Local()
    assert site.choose(None, table) == site.choose("slurm", table) == Slurm(jobs=3)
    assert site.choose("local", table) == Local()
    assert site.choose("slurm", None) == Slurm()
    assert site.choose("local", {"kind": "local", "workers": 3}) == Local(workers=3)
    assert site.choose("local", None, 5) == site.choose(None, {"workers": 3}, 5) == Local(workers=5)
    assert site.choose("tls://node7:8786", table) == Scheduler(address="tls://node7:8786")
    (tmp_path / "scheduler.json").touch()
    (tmp_path / "site.toml").write_text(QUEUE)
    assert site.choose(str(tmp_path / "scheduler.json"), None).kind == "scheduler"
    found = site.choose(str(tmp_path / "site.toml"), None)
    assert isinstance(found, Slurm)
    assert (found.workers_per_job, found.seconds) == (6, 26 * 3600)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"kind": "slrum"}, r"unknown kind of cluster 'slrum' in \[cluster\] \(did you mean 'slurm'\?\)"),
        ({"kind": "slurm", "partion": "gpu"}, r"unknown key 'partion' in \[cluster\] of kind 'slurm'.*partition"),
        ({"kind": "slurm", "walltime": "1 day"}, r"\[cluster\] of kind 'slurm': walltime: .*1 day"),
        (
            {"kind": "slurm", "memory": "lots"},
            r'memory: must be an amount of memory, such as "8 GiB" or "120 GB" .*lots',
        ),
        ({"kind": "slurm", "memory": "120G"}, r'such as "8 GiB" or "120 GB" \(found \'120G\'\)'),
        ({"kind": "slurm", "memory": "0 GB"}, r"must be an amount of memory"),
        ({"kind": "slurm", "partition": "gpu\n#SBATCH --uid=0"}, r"partition: must be one word"),
        ({"kind": "slurm", "partition": "gpu -A x"}, r"partition: must be one word"),
        ({"kind": "slurm", "account": "a;id"}, r"account: must be one word"),
        ({"kind": "slurm", "interface": "$(id)"}, r"interface: must be one word"),
        ({"kind": "slurm", "python": "/opt/python\nid"}, r"python: must be one line"),
        ({"kind": "slurm", "directives": ["--x\nid"]}, r"directives: must be one line"),
        (
            {"kind": "slurm", "directives": ["id"]},
            r'directives: must be an option of sbatch, such as "--constraint=a100"',
        ),
        ({"kind": "slurm", "scratch": '/tmp"; id; "'}, r'scratch: cannot have " in it'),
        ({"kind": "slurm", "scratch": "/tmp\nid"}, "scratch: "),
        ({"kind": "slurm", "account": "a\n#SBATCH --x"}, "account: "),
        ({"kind": "slurm", "interface": "a\n#SBATCH --x"}, "interface: "),
        ({"kind": "slurm", "scratch": "/tmp/$(id)"}, r"scratch: cannot have \$\( in it"),
        ({"kind": "slurm", "logs": "/tmp/`id`"}, r"logs: cannot have ` in it"),
        ({"kind": "slurm", "jobs": 0}, r"jobs: .*greater than 0"),
        ({"partition": "gpu"}, r"unknown key 'partition' in \[cluster\] of kind 'local'"),
        ({"kind": "scheduler"}, r"needs a value for 'address'"),
    ],
)
def test_a_table_that_does_not_fit_is_one_sentence(table: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        site.from_table(table)


def test_an_option_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    for asked, says in (
        ("slrum", "no cluster answers to 'slrum': it is local, slurm, a scheduler's address"),
        ("no/such.json", "there is no scheduler file no/such.json"),
        ("no/such.toml", "cannot read the site file no/such.toml: No such file"),
    ):
        with pytest.raises(RequestError, match=says):
            site.choose(asked, None)
    (tmp_path / "site.toml").write_text(QUEUE + "[other]\n")
    with pytest.raises(RequestError, match=r"must have one table, \[cluster\], and nothing else"):
        site.choose(str(tmp_path / "site.toml"), None)
    with pytest.raises(RequestError, match=r"--workers is for a local run; .*'slurm', `jobs`"):
        site.choose("slurm", None, 3)
    with pytest.raises(RequestError, match=r"unknown key 'jobs'"):
        parse(SPEC + "[cluster]\njobs = 3\n")


def test_where_it_is_made_is_no_part_of_a_dataset(tmp_path: Path) -> None:
    local = parse(SPEC + "[cluster]\nworkers = 0\n")
    assert "cluster" not in local.to_toml()
    assert local.settings() == parse(SPEC).settings()
    generate(local, tmp_path / "x")
    assert generate(parse(SPEC), tmp_path / "x", workers=0).done_now == 0


def test_the_job_script_says_all_that_the_table_does(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "site.toml").write_text(QUEUE)
    found = site.read(tmp_path / "site.toml")
    assert isinstance(found, Slurm)
    script = job_script(found)
    for line in (
        "#SBATCH -p gpu",
        "#SBATCH -A neuro",
        "#SBATCH -t 1-02:00:00",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=60G",
        "#SBATCH --gres=gpu:2",
        "#SBATCH --constraint=a100",
        "module load python",
        'eval "$(/opt/python -P -m generator.clusters.process)"',
        "--nworkers 6",
        "--nthreads 1",
        "--interface ib0",
        "--lifetime 93300s --lifetime-stagger 150s",
        "--preload generator.clusters.pinning --preload generator.clusters.quiet",
    ):
        assert line in script, line


def test_names_with_spaces_stay_whole_in_the_job_script() -> None:
    pytest.importorskip("dask_jobqueue")
    found = Slurm(python="/opt/my python", scratch="$TMPDIR/a b", logs="/logs of/jobs")
    script = job_script(found)
    assert "\n'/opt/my python' -m distributed.cli.dask_worker" in script
    assert '#SBATCH -e "/logs of/jobs/rulescope-%J.err"\n#SBATCH -o "/logs of/jobs/rulescope-%J.out"\n' in script
    assert 'scratch=$(mktemp -d -p "$TMPDIR/a b" rulescope-XXXXXXXXXX) || exit 1\n' in script


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    lines = dry_run(parse(SPEC), tmp_path / "x", workers=3, device="cpu")
    assert lines[0].endswith("0 of 2 cohorts complete")
    assert lines[1] == "cluster: 3 local worker processes on cpu"
    assert "2 networks in 2 cohorts" in lines[2]
    assert len(lines) == 5
    assert not (tmp_path / "x").exists()
    generate(parse(SPEC), tmp_path / "x", workers=0)
    assert "0 networks in 0 cohorts" in dry_run(parse(SPEC), tmp_path / "x", workers=0)[2]


def test_a_run_of_a_moment_does_not_wait_for_workers(tmp_path: Path) -> None:
    def shown(text: str, **how: Any) -> str:
        return dry_run(parse(text), tmp_path / "x", device="cpu", **how)[1]

    inside, many = "cluster: none", SPEC.replace("epochs = 3", "epochs = 3000")
    assert inside in shown(SPEC)
    assert "1 local worker" in shown(SPEC, workers=1), "who says how many gets them"
    assert "local worker" in shown(many)
    assert site.choose("slurm", None).suited("cpu", 0.1).kind == "slurm"
    assert not Local().suited("cuda", 0.1).inside
    brought = parse(SPEC).model_copy(update={"plugins": ["mine"]})
    assert "local worker" in dry_run(brought, tmp_path / "x", device="cpu")[1], (
        "somebody's code has a process of its own"
    )
    generate(parse(SPEC), tmp_path / "x", device="cpu")
    (log,) = (tmp_path / "x" / "log").iterdir()
    assert '"workers": 0' in log.read_text(encoding="utf-8")


def test_a_dry_run_shows_what_a_job_will_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "site.toml").write_text(QUEUE)
    shown = "\n".join(dry_run(parse(SPEC), tmp_path / "x", device="cpu", cluster=str(tmp_path / "site.toml")))
    assert "\n#SBATCH -p gpu\n" in shown
    assert "\nmodule load python\n" in shown


def test_slurm_without_slurm_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RequestError, match="there is no sbatch on this machine"):
        generate(parse(SPEC), tmp_path / "x", cluster="slurm")
    with pytest.raises(RequestError, match="asks Slurm for no GPUs"):
        generate(parse(SPEC), tmp_path / "x", cluster="slurm", device="cuda")


@pytest.mark.parametrize("name", ["a\nb", '"; id; "', "$(id)"])
def test_a_working_directory_does_not_become_lines_of_the_job_script(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue")
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    with pytest.raises(RequestError, match=r"the folder of the jobs' logs, .* (must be one line|cannot have)"):
        job_script(Slurm())


class _Counted:
    """A client of a scheduler with so many workers."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(map(str, range(self.workers)), 1)


@pytest.mark.parametrize(
    ("workers", "waiting", "words"),
    [(0, 3, "0 workers, 3 jobs waiting"), (1, 1, "1 worker, 1 job waiting"), (1_200, 0, "1,200 workers")],
)
def test_who_works_is_said_in_words(workers: int, waiting: int, words: str) -> None:
    client: Any = _Counted(workers)
    pool = Pool(client, 9, waiting=lambda present: waiting)
    assert pool.crew() == words
    assert pool.places() == 9
    assert Pool(client).places() == workers
