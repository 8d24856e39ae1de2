"""Plugins: what they may add, where they run, what remembers them, and what is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from small import SPEC

import rulescope as rs
from generator import plugins
from generator.curricula.tasks import TASKS
from generator.errors import RequestError
from generator.observables import OBSERVABLES
from generator.rules import ALIASES, PATHWAYS, UPDATES
from generator.spec.spec import of

PAGE = Path(__file__).parents[1] / "docs" / "your-own.md"
pytestmark = pytest.mark.usefixtures("registries")

RULE = """
from generator.rules.pathways.backprop import Backpropagation

class Mine(Backpropagation):
    '''Mine.'''
    family, source, local = "own", "here", False

PATHWAYS = {"mine": Mine}
"""
MORE = """
from dataclasses import dataclass

import numpy as np
from sklearn.naive_bayes import GaussianNB
from generator.architectures.mlp import MLP
from generator.architectures.network import Family
from generator.curricula.stimuli import TaskInfo, in_memory
from generator.dataset.schema import Statistic
from generator.observables.contract import Observable
from generator.observables.signals import Synapses
from generator.rules.updates.sgd import SGD

class Twice(SGD):
    '''Twice as fast.'''
    base_rate = 2 * SGD.base_rate

class Largest(Observable):
    '''The largest weight.'''
    name, signals = "largest", (Synapses,)
    statistics = [Statistic("largest_weight", "largest", "raw", "max", "the largest weight")]

    def reduce(self, reading):
        return reading.scene.weights.double().amax(1, keepdim=True)

    def seconds(self, size, electrode, probe):
        return 0.0

@dataclass
class Striped:
    period: int

    def __call__(self, pixels):
        rng = np.random.default_rng(0)
        labels = np.arange(300) % 2
        images = rng.normal(size=(300, 1, pixels, pixels)).astype("f4")
        images += 2 * (np.arange(pixels) // self.period % 2 == labels[:, None])[:, None, None]
        return images[:200], labels[:200], images[200:], labels[200:]

UPDATES = {"twice": Twice}
OBSERVABLES = {"largest": Largest}
ARCHITECTURES = {"mlp6": Family(MLP, {"depth": 6}, min_pixels=1, weight_decay=0.0)}
TASKS = {"stripes": TaskInfo(1, 2, 200, 100, (8,), in_memory(Striped(2)), meaning="which way stripes begin")}
CLASSIFIERS = {"naive": GaussianNB()}
"""


def fresh() -> None:
    """As in a new process."""
    for kind, name in list(plugins._ADDED):
        {"PATHWAYS": PATHWAYS, "UPDATES": UPDATES, "OBSERVABLES": OBSERVABLES, "TASKS": TASKS}[kind].pop(name)
        ALIASES.pop(name, None)
    plugins._RUN.clear()
    plugins._ADDED.clear()


def spec(folder: Path, source: str | None = RULE, **changed: Any) -> Path:
    """A spec file beside my.py; `changed` are axes of its grid, and `observables`."""
    if source is not None:
        (folder / "my.py").write_text(source)
    head = {"observables": changed.pop("observables")} if "observables" in changed else {}
    grid = {**SPEC["grid"][0], "seeds": 1, **changed}
    (folder / "own.toml").write_text(
        tomli_w.dumps({**SPEC, **head, "name": "own", "plugins": ["my.py"], "grid": [grid]})
    )
    return folder / "own.toml"


def ids(source: Path | dict[str, Any]) -> dict[str, list[str]]:
    """The networks of each rule of a spec."""
    found: dict[str, list[str]] = {}
    for network in of(source).networks:
        found.setdefault(network.rule.label, []).append(network.network_id)
    return found


def test_the_page_goes_from_nothing_to_a_confusion_matrix(tmp_path: Path) -> None:
    """The files and commands of the page, in processes of their own; then what its dataset asks of whoever reads it."""
    page = PAGE.read_text(encoding="utf-8")
    code, toml = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL)[1] for kind in ("python", "toml"))  # type: ignore[index]
    (tmp_path / "my_rule.py").write_text(code)
    (tmp_path / "half.toml").write_text(toml)
    commands = re.search(r"```sh\n(.*?)```", page, re.DOTALL)[1].splitlines()  # type: ignore[index]

    def ran(command: str) -> subprocess.CompletedProcess[str]:
        words = command.split()
        assert words[0] == "rulescope"
        how = [sys.executable, "-P", "-m", "rulescope", *words[1:]]
        return subprocess.run(how, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    made, judged = map(ran, commands)
    assert made.returncode == 0, made.stderr
    assert "rulescope: my_rule.py is code, and runs" in made.stderr
    assert judged.returncode == 0, judged.stderr
    assert re.search(r"half.*\d", judged.stdout)
    assert ran("rulescope status half").returncode == 0, "it reads no spec"
    refused = ran("rulescope generate half --dry-run")
    assert refused.returncode == 2
    assert "plugin my_rule.py" in refused.stderr
    assert "--plugin my_rule.py before the command" in refused.stderr
    assert ran("rulescope --plugin my_rule.py verify half").returncode == 0
    (tmp_path / "my_rule.py").write_text(code + "\n")
    other = ran("rulescope generate half.toml")
    assert other.returncode == 2
    assert "networks that the spec no longer has" in other.stderr
    assert "not as my_rule.py@" in ran("rulescope --plugin my_rule.py generate half --dry-run").stderr


def test_the_hash_is_part_of_what_uses_the_plugin_and_of_nothing_else(tmp_path: Path) -> None:
    first = ids(spec(tmp_path, rule=["sgdm", "mine", "mine+adam"]))
    fresh()
    second = ids(spec(tmp_path, RULE + "\n# edited", rule=["sgdm", "mine", "mine+adam"]))
    plain = ids({**SPEC, "grid": [{**SPEC["grid"][0], "seeds": 1, "rule": "sgdm"}]})
    assert list(first) == ["sgdm", "mine", "mine+adam"]
    assert first["sgdm"] == second["sgdm"] == plain["sgdm"]
    for rule in ("mine", "mine+adam"):
        assert not set(first[rule]) & set(second[rule])


def test_everything_that_a_plugin_adds_is_found_and_runs(tmp_path: Path) -> None:
    axes = {"rule": ["bp+twice", "fa+twice"], "architecture": "mlp6", "task": "stripes", "batch_size": 50, "pixels": 8}
    path = spec(tmp_path, MORE, observables=["weight", "largest"], **axes)
    dataset = rs.generate(path, workers=0)
    table = rs.load(dataset).to_frame().filter(like="largest_weight")
    assert table.shape[1]
    assert np.isfinite(table.to_numpy()).all()
    assert len(dataset.states()) == 1
    names = rs.names().set_index("kind")["name"]
    for kind, name in (("observables", "largest"), ("architectures", "mlp6"), ("tasks", "stripes"), ("rules", "twice")):
        assert name in list(names[kind])
    plain = rs.generate({**SPEC, "name": "plain"}, tmp_path / "plain", workers=0)
    found = rs.evaluate(plain, models=["naive"], n_splits=2)
    assert list(found["models"]) == ["naive"]


def test_workers_run_what_was_sent_to_them(tmp_path: Path) -> None:
    """Processes of their own, which never see the file."""
    path = spec(tmp_path, rule="mine", learning_rate=1.0)
    parsed = rs.generate(path, tmp_path / "out", workers=1)
    assert parsed.states() == {"complete": 2}


def test_a_dataset_needs_its_plugin_and_does_not_bring_it(tmp_path: Path) -> None:
    path = spec(tmp_path, rule="mine", learning_rate=1.0)
    dataset = rs.generate(path, workers=0)
    fresh()
    shutil.copy(tmp_path / "my.py", Path(dataset.location) / "my.py")
    with pytest.raises(
        RequestError, match=r"needs the plugin my\.py as my\.py@\w{16}, which is code and came with no dataset"
    ):
        rs.generate(dataset, workers=0)
    assert "mine" not in PATHWAYS
    rs.plugin(tmp_path / "my.py")
    assert rs.verify(dataset) == []
    assert len(rs.load(dataset).identity)
    more = rs.generate(spec(tmp_path, rule="mine", learning_rate=2.0), tmp_path / "more", workers=0)
    merged = rs.merge(tmp_path / "merged", dataset, more)
    assert "my.py@" in merged.read("spec.toml").decode()


def test_an_observable_of_another_hash_is_another_setting(tmp_path: Path) -> None:
    axes = {"rule": "sgdm", "learning_rate": 1.0, "observables": ["weight", "largest"]}
    dataset = rs.generate(spec(tmp_path, MORE, **axes), workers=0)
    assert dataset.settings()["plugins"][0].startswith("my.py@")
    with pytest.raises(RequestError, match=r"another my\.py has run in this process already: start a new one"):
        rs.generate(spec(tmp_path, MORE + "\n", **axes), workers=0)


def test_a_strangers_dataset_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its spec names: a file in its folder, one in the working directory, one anywhere."""
    dataset = rs.generate({**SPEC, "name": "theirs"}, tmp_path / "theirs", workers=0)
    there = Path(dataset.location)
    for place in (tmp_path / "evil.py", there / "evil.py"):
        place.write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    recorded = (there / "spec.toml").read_text()
    for entry in ("evil.py", str(there / "evil.py"), "theirs/evil.py", "evil.py@0123456789abcdef", "../evil.py@"):
        (there / "spec.toml").write_text(f"plugins = [{entry!r}]\n{recorded}")
        assert any("plugin" in problem for problem in rs.verify(dataset))
        assert rs.status(dataset).complete, "it reads no spec"
        for ask in (rs.plan, lambda data: rs.generate(data, workers=0)):
            with pytest.raises(RequestError, match="plugin"):
                ask(dataset)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("x = (", r"the plugin my\.py fails: line 1: SyntaxError"),
        ("\n1 / 0", r"the plugin my\.py fails: line 2: ZeroDivisionError: division by zero"),
        ("import no_such_module", r"line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1", r"adds nothing: it has none of PATHWAYS, UPDATES, OBSERVABLES, ARCHITECTURES, TASKS, CLASSIFIERS"),
        ("PATHWAYS = 3", "adds nothing"),
        (
            RULE.replace('"mine"', '"fa"'),
            r"the plugin my\.py cannot add to PATHWAYS: 'fa' is a name that Rulescope has already",
        ),
        (RULE.replace('"mine"', '"sgdm"'), "'sgdm' is a name that Rulescope has already"),
        (RULE.replace('"mine"', '"a+b"'), r"'a\+b' is no name: it may have letters, digits and underscores"),
        ("PATHWAYS = {'mine': 3}", "'mine' is not a subclass of Pathway"),
        ("UPDATES = {'mine': dict}", "'mine' is not a subclass of Update"),
        ("OBSERVABLES = {'mine': int}", "'mine' is not a subclass of Observable with this name"),
        ("TASKS = {'mine': 1}", "'mine' is not a TaskInfo"),
        ("ARCHITECTURES = {'mine': 1}", "'mine' is not a Family or a Parametrised one"),
        ("CLASSIFIERS = {'mine': 1}", "'mine' is not a classifier of scikit-learn's kind"),
        (None, r"cannot read the plugin my\.py: No such file or directory"),
    ],
)
def test_a_plugin_that_cannot_be_is_said_in_a_sentence(source: str | None, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=sentence) as caught:
        rs.plan(spec(tmp_path, source))
    assert "\n" not in str(caught.value)
    assert "own.toml" in str(caught.value)


def test_only_a_python_file_is_run(tmp_path: Path) -> None:
    for entry in ("my.txt", "os", "my.py.bak", ""):
        with pytest.raises(RequestError, match=r"a plugin is a Python file, such as my_rule\.py, not"):
            plugins.named(entry, tmp_path)


def test_an_installed_package_adds_what_its_module_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rulescope_package.py").write_text(RULE)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", "rulescope_package", plugins.GROUP)
    monkeypatch.setattr(plugins.importlib.metadata, "entry_points", lambda group: [point] * (group == plugins.GROUP))
    plugins.installed.cache_clear()
    try:
        found = rs.plan({**SPEC, "grid": [{**SPEC["grid"][0], "rule": ["sgdm", "mine"]}]})
        assert {rule for rule, *_ in found.counts} == {"sgdm", "mine"}
        assert plugins.origin("PATHWAYS", "mine").startswith("rulescope_package@")
    finally:
        plugins.installed.cache_clear()
        sys.modules.pop("rulescope_package", None)
