"""The command line: exit statuses, one sentence for every mistake, and what may import what."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rulescope
from generator.rules import PATHWAYS, UPDATES

REPOSITORY = Path(__file__).parent.parent
Command = Callable[..., "subprocess.CompletedProcess[str]"]
SPEC = 'name = "x"\ncheckpoints = 3\nprobe = 16\n[[grid]]\ntask = "digits"\narchitecture = "mlp2"\nrule = "sgdm"\nepochs = 1\n'


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "x.toml"
    path.write_text(SPEC)
    return path


def refused(process: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit status 2 and one line on stderr that holds all parts."""
    assert process.returncode == 2, process
    assert process.stdout == ""
    assert len(process.stderr.strip().splitlines()) == 1
    for part in parts:
        assert part in process.stderr


def test_from_a_spec_to_a_verified_dataset(command: Command, spec: Path) -> None:
    assert "1 networks" in command("plan", spec).stdout
    made = command("generate", spec, "--workers", 0)
    assert made.returncode == 0
    assert "1 complete" in made.stdout
    assert (spec.parent / "x" / "networks.parquet").is_file()
    assert "1 of 1 cohorts" in command("status", spec.parent / "x").stdout
    assert command("verify", spec.parent / "x").returncode == 0
    next((spec.parent / "x" / "networks").iterdir()).unlink()
    broken = command("verify", spec.parent / "x")
    assert (broken.returncode, "is missing" in broken.stdout, broken.stderr) == (1, True, "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            "OSError('When reading key x: AWS Error NETWORK_CONNECTION')",
            "When reading key x: AWS Error NETWORK_CONNECTION",
        ),
        ("OSError(107, 'Transport endpoint is not connected', 'a/b')", "'a/b': Transport endpoint is not connected"),
        ("OSError(28, 'No space left on device', 'a/b')", "'a/b': No space left on device"),
        ("TimeoutError()", "TimeoutError"),
    ],
)
def test_what_a_disk_or_a_network_does_is_one_sentence(error: str, said: str) -> None:
    """In the middle of a command; its traceback, on request."""
    code = "import sys, rulescope\ndef names(kind): raise {}\nrulescope.names = names\nsys.argv[1:] = ['names']\nrulescope.main()"
    ask = partial(
        subprocess.run, [sys.executable, "-c", code.format(error)], capture_output=True, text=True, timeout=60
    )
    done = ask()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"rulescope: {said} (RULESCOPE_TRACEBACK=1 shows where in the code)\n"
    assert "Traceback" in ask(env={**os.environ, "RULESCOPE_TRACEBACK": "1"}).stderr


@pytest.mark.parametrize("module", ["typer", "rich.console", "classifier.cli", "generator.errors", "numpy", "torch"])
def test_ctrl_c_is_heard_while_the_command_line_is_still_being_imported(module: str) -> None:
    code = f"""if True:
        import os, signal, sys
        class Pressed:
            def find_spec(self, name, *_):
                if name == {module!r}:
                    os.kill(os.getpid(), signal.SIGINT)
        sys.meta_path.insert(0, Pressed())
        sys.argv[1:] = ["names"]
        import rulescope
        rulescope.main()"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "rulescope: interrupted\n")


def test_unknown_commands_and_options_are_named_and_the_known_ones_listed(command: Command, spec: Path) -> None:
    refused(
        command("generat", spec),
        "unknown command 'generat'",
        "did you mean 'generate'",
        "known: compact, controls, curves, distinguish, evaluate, ",
    )
    refused(command("--foo"), "unknown option '--foo' in rulescope;", "--help")
    assert command().returncode == 0
    refused(command("generate", spec, "--worker", 2), "'--worker'", "known: ", "--workers")
    refused(command("evaluate", spec, "--splitt", "network"), "'--splitt'", "known: ", "--split")
    refused(command("generate", spec, "--workers", "two"), "--workers", "integer")
    refused(command("generate"), "SPEC")


def test_a_bad_request_is_refused_before_anything_is_made(command: Command, spec: Path) -> None:
    spec.write_text(SPEC.replace("sgdm", "sgmd"))
    refused(command("generate", spec), "x.toml", "'sgmd'", "did you mean 'sgd'")
    spec.write_text(SPEC)
    refused(command("generate", spec, "--device", "tpu"), "'tpu'", "auto, cpu, cuda")
    refused(command("generate", spec, "--workers", -1), "-1")
    assert not (spec.parent / "x").exists()
    refused(command("generate", spec.parent / "none.toml"), "none.toml", "No such file")
    refused(command("verify", spec.parent), "is not a dataset")
    refused(command("evaluate", spec.parent), "is not a dataset")
    refused(command("generate", spec, "--out", spec), "x.toml is a file")


def test_files_are_utf8_whatever_the_locale(spec: Path) -> None:
    """Also with the mark that Windows' editors begin them with. What is no UTF-8 is shown as it can be."""
    spec.write_bytes(b"\xef\xbb\xbf" + f"# größer\n{SPEC}[cluster]\nworkers = 0\n".encode())
    site = spec.with_name("site.toml")
    site.write_bytes(b"\xef\xbb\xbf# gr\xc3\xb6\xc3\x9fer\n[cluster]\nworkers = 0\n")
    odd = spec.with_name(os.fsdecode(b"caf\xe9.toml"))
    odd.write_bytes(spec.read_bytes())
    ascii_alone = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "cp932"}

    foreign = spec.with_name("foreign.toml")
    foreign.write_bytes(SPEC.encode() + b"# gr\xf6sser")
    commands = [
        ("generate", spec),
        ("status", "x"),
        ("generate", odd, "--cluster", site, "--dry-run"),
        ("status", odd),
        ("plan", foreign),
    ]
    code = """if True:
        import json, sys, rulescope
        for command in json.loads(sys.argv[1]):
            sys.argv[1:] = command
            try:
                rulescope.main()
            except SystemExit as end:
                for stream in (sys.stdout, sys.stderr):
                    print(end.code, end="\\0", file=stream)"""
    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps([list(map(str, each)) for each in commands])],
        cwd=spec.parent,
        capture_output=True,
        encoding="cp932",
        env=ascii_alone,
    )
    said = zip(commands, run.stdout.split("\0"), run.stderr.split("\0"), strict=False)
    made, looked, dry, *bad = [
        subprocess.CompletedProcess(each, int(out[-1]), out[:-1], error[:-1]) for each, out, error in said
    ]
    assert made.returncode == 0
    assert "1 of 1 cohorts" in looked.stdout
    assert "1 of 1 cohorts complete" in dry.stdout
    refused(bad[0], r"caf\udce9.toml' is no place for a dataset: its name is not UTF-8")
    refused(bad[1], "foreign.toml: not text in UTF-8: ")


def test_no_text_is_read_or_written_in_the_locale_s_encoding() -> None:
    def names_it(call: ast.Call) -> bool:
        function = call.func
        if isinstance(function, ast.Attribute) and function.attr in ("read_text", "write_text"):
            return any(keyword.arg == "encoding" for keyword in call.keywords)
        opens = isinstance(function, ast.Name) and function.id == "open"
        return not opens or any("b" in ast.unparse(mode) for mode in call.args[1:])

    files = [*REPOSITORY.glob("generator/**/*.py"), *REPOSITORY.glob("classifier/**/*.py"), REPOSITORY / "rulescope.py"]
    calls = [(file, each) for file in files for each in ast.walk(ast.parse(file.read_bytes()))]
    assert not [(file, one.lineno) for file, one in calls if isinstance(one, ast.Call) and not names_it(one)]


def test_no_thread_of_arrow_s_reads_from_python() -> None:
    """One that still holds a file of Python's when the process ends brings it down: "terminate called …", in one of twenty."""
    files = [*REPOSITORY.glob("generator/**/*.py"), *REPOSITORY.glob("classifier/**/*.py"), REPOSITORY / "rulescope.py"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    assert not re.findall(r"read_parquet|read_feather|read_orc|pq\.read_|pyarrow\.dataset|pyarrow import dataset", text)


def imported_by(module: str, then: str = "pass") -> set[str]:
    code = f"import sys, {module}; {then}; print(*{{name.split('.')[0] for name in sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    heavy = {"torch", "numpy", "pandas", "pyarrow", "sklearn", "dask", "matplotlib"}
    assert not imported_by("rulescope", "rulescope.command_line()") & heavy


def test_the_classifier_does_not_import_torch_nor_the_generator_the_classifier() -> None:
    assert not imported_by("classifier.studies.importance") & {"torch", "sklearn", "scipy"}
    studies = ", ".join(
        f"classifier.studies.{name}" for name in ("evaluate", "train", "predict", "controls", "transfer", "distinguish")
    )
    modules = f"{studies}, classifier.report.report, classifier.report.robustness"
    assert "torch" not in imported_by(modules)
    assert "classifier" not in imported_by("generator.running.generate, generator.running.work, generator.cli")


def test_the_help_is_in_the_order_of_work_with_an_example_each_and_nothing_eaten(command: Command) -> None:
    listed = re.findall(r"^│ (\w+) ", command("--help").stdout, re.MULTILINE)
    order = [
        "plan",
        "generate",
        "status",
        "verify",
        "rerun",
        "merge",
        "compact",
        "record",
        "match",
        "curves",
        "report",
        "evaluate",
        "controls",
        "transfer",
        "distinguish",
        "trust",
        "identify",
        "train",
        "predict",
    ]
    order += ["importance", "robustness", "power", "names", "rules"]
    assert listed == order
    for name in order:
        found = " ".join(command(name, "--help").stdout.split())
        assert f"Example: rulescope {name} " in found
    assert "the spec's [cluster], or local" in " ".join(command("generate", "--help").stdout.replace("│", " ").split())


@pytest.mark.parametrize("kind", ["features", "noise", "inner", "models", "importances"])
def test_every_name_that_an_option_takes_stands_in_the_docs(kind: str) -> None:
    text = (REPOSITORY / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert [name for name in rulescope.names(kind)["name"] if f"| `{name}` |" not in text and name != "none"] == []


@pytest.mark.parametrize("command", ["evaluate", "train", "controls", "transfer", "robustness", "power"])
def test_every_model_stands_in_the_help_of_what_takes_one(command: str) -> None:
    found = re.sub(
        r"[\s│]", "", CliRunner().invoke(rulescope.command_line(), [command, "--help"]).output
    )  # it breaks lines anywhere
    assert [name for name in rulescope.names("models")["name"] if name not in found] == []


def test_it_says_which_version_it_is(command: Command) -> None:
    assert command("--version").stdout.startswith("rulescope 0.")
    assert "--install-completion" in command("--help").stdout


def test_a_folder_s_own_classifier_py_is_named(tmp_path: Path) -> None:
    """A file that stands in the way of ours, beside a user's notebook."""
    for name in ("classifier", "generator"):
        (tmp_path / f"{name}.py").write_text("")
        found = subprocess.run([sys.executable, "-c", "import rulescope"], cwd=tmp_path, capture_output=True, text=True)
        assert found.returncode == 1
        assert found.stderr.strip().splitlines()[-1] == (
            f"ImportError: {tmp_path / name}.py stands in the way of Rulescope's package of that name: rename it"
        )
        (tmp_path / f"{name}.py").unlink()


def test_specs_that_come_along_are_found_by_their_name_anywhere(command: Command, tmp_path: Path) -> None:
    assert "656 networks" in command("plan", "demo").stdout
    refused(command("plan", "demmo"), "cannot read the spec demmo", "with Rulescope come atlas, demo, electrodes")
    (tmp_path / "demo").write_text(SPEC)  # one's own file goes first
    assert "1 networks" in command("plan", tmp_path / "demo").stdout


def test_rulescope_rules_lists_every_rule_with_what_it_declares() -> None:
    runner, app = CliRunner(), rulescope.command_line()
    shown = runner.invoke(app, ["rules"])
    told = json.loads(runner.invoke(app, ["rules", "--json"]).stdout)
    assert [one["name"] for one in told] == [*PATHWAYS, *UPDATES]
    assert f"{len(told)} in all" in shown.stdout
    found = {one["name"]: one for one in told}
    assert found["ia"]["flops"] == "(1 + 2 + 2) / 3"
    assert found["drtp"]["labels"]
    assert found["gevb"]["architectures"] == ["vnn"]
    assert [one["name"] for one in told if one["architectures"]] == ["gevb"]
    assert "labels, vnn" in shown.stdout
    assert found["lion"]["parameters"] == {"beta1": 0.9, "beta2": 0.99}
    for one in told:
        assert one["name"] in shown.stdout
        assert one["source"] in shown.stdout
