"""Files from strangers, made at random: each works or is refused in words; none crashes, hangs or writes outside its folder.

    python tests/fuzz.py --seconds 1800

One process for all inputs, so that a crash ends it. Prints a table: inputs of each kind that worked, and that were refused.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import tomli_w
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from classifier.examples.trajectories import load
from classifier.models.card import load_card
from classifier.studies.predict import predict
from classifier.studies.study import Study
from classifier.studies.train import train
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running.generate import generate
from generator.running.status import status
from generator.running.verify import problems
from generator.spec import planning, spec

ROUND = 20  # inputs between two looks at the clock
HANGS = 60  # seconds of one input that count as for ever
SPEC = """name = "fuzzed"
checkpoints = 3
probe = 16
[snapshots]
networks = 1
[[electrode]]
units = [2, 4]
noise = [0.0, 0.5]
[[grid]]
task = "digits"
architecture = "mlp2"
rule = ["sgdm", "adam", "fa", "ia"]
learning_rate = [0.5, 1.0]
pixels = 8
epochs = 1
width = 0.1
seeds = 2
"""
WORDS = [
    "../../x",
    "/etc/x",
    "..",
    "",
    ".",
    "a/b",
    "CON",
    "\x00",
    "\u202e",
    "[red]",
    "{}",
    "hub:",
    "folder:",
    "s3://x",
    "nan",
]
WRITING = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.system"}
WRITING |= {"shutil.rmtree", "shutil.move", "subprocess.Popen", "os.exec", "os.posix_spawn"}

Case = Callable[[st.DataObject, Path], None]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    """A kind of file: read one made at random, in a folder of its own. It may raise RequestError."""

    def keep(function: Case) -> Case:
        CASES[name] = function
        return function

    return keep


# -- values and changes ------------------------------------------------------------------------------------------------
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**18, 10**30)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value, with each of its keys or indices."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def changed(data: st.DataObject, value: Any) -> Any:
    """A copy with one to three changes: another value, a near one, one from elsewhere in it, one less, one more."""
    value = copy.deepcopy(value)
    for _ in range(data.draw(st.integers(1, 3))):
        found = list(places(value))
        if not found:
            return data.draw(VALUES)
        owner, key = data.draw(st.sampled_from(found))
        how = data.draw(st.sampled_from(["any", "near", "swap", "drop", "add", "nest"]))
        if how == "any":
            owner[key] = data.draw(VALUES)
        elif how == "near" and isinstance(owner[key], int | float):
            owner[key] = owner[key] + data.draw(st.sampled_from([-1, 1, 0.5, -1e9, 1e9, 2**31, 2**63]))
        elif how == "near" and isinstance(owner[key], str):
            owner[key] += data.draw(st.sampled_from(WORDS))
        elif how == "swap":
            other, place = data.draw(st.sampled_from(found))
            owner[key] = copy.deepcopy(other[place])
        elif how == "nest":
            for _ in range(data.draw(st.sampled_from([1, 100]))):
                owner[key] = [owner[key]]
        elif how == "drop":
            del owner[key]
        elif isinstance(owner, dict):
            owner[data.draw(st.text(max_size=8) | st.sampled_from(WORDS))] = data.draw(VALUES)
        else:
            owner.insert(key, data.draw(VALUES))
    return value


def flipped(data: st.DataObject, content: bytes) -> bytes:
    """Some bytes changed, the rest cut off, or put together anew."""
    made = bytearray(content)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(made) - 1) | st.integers(max(0, len(made) - 2000), len(made) - 1))
        made[at] = data.draw(st.integers(0, 255))
    if data.draw(st.integers(0, 9)) == 0:
        made = made[: data.draw(st.integers(0, len(made)))]
    return bytes(made)


def toml(value: Any) -> str:
    """A TOML text of what TOML can say of it."""

    def sayable(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: sayable(each) for key, each in value.items() if each is not None}
        if isinstance(value, list):
            return [sayable(each) for each in value if each is not None]
        return value

    return tomli_w.dumps(sayable(value)) if isinstance(value, dict) else str(value)


# -- the kinds ---------------------------------------------------------------------------------------------------------
@case("specs")
def _spec(data: st.DataObject, folder: Path) -> None:
    text = toml(changed(data, tomllib.loads(SPEC)))
    content = text.encode("utf-8", errors="surrogatepass")
    (folder / "x.toml").write_bytes(flipped(data, content) if data.draw(st.booleans()) else content)
    read = spec.read(folder / "x.toml")
    if read.networks and len(read.networks) < 1000:
        planning.form_cohorts(read.networks)


@case("cohorts.json")
def _cohorts(data: st.DataObject, folder: Path) -> None:
    dataset = shutil.copytree(BASE / "dataset", folder / "dataset")
    content = changed(data, json.loads((dataset / "cohorts.json").read_text()))
    (dataset / "cohorts.json").write_text(json.dumps(content))
    _looked_at(dataset, again=data.draw(st.integers(0, 4)) == 0)


@case("cards")
def _card(data: st.DataObject, folder: Path) -> None:
    model = shutil.copytree(BASE / data.draw(st.sampled_from(["forest", "logistic", "xgboost"])), folder / "model")
    content = json.dumps(changed(data, json.loads((model / "card.json").read_text()))).encode()
    (model / "card.json").write_bytes(flipped(data, content) if data.draw(st.booleans()) else content)
    _resealed(model)
    predict(model, BASE / "dataset")


@case("models")
def _model(data: st.DataObject, folder: Path) -> None:
    model = shutil.copytree(BASE / data.draw(st.sampled_from(["forest", "logistic", "xgboost"])), folder / "model")
    (file,) = (path for path in model.glob("classifier-*"))
    content = file.read_bytes()
    if data.draw(st.booleans()):
        file.write_bytes(flipped(data, content))
    elif file.suffix == ".json":
        file.write_text(json.dumps(changed(data, json.loads(content))))
    else:
        file.write_bytes(_repacked(data, content))
    _resealed(model)
    predict(model, BASE / "dataset")


@case("Parquet files")
def _parquet(data: st.DataObject, folder: Path) -> None:
    dataset = shutil.copytree(BASE / "dataset", folder / "dataset")
    file = data.draw(st.sampled_from(sorted(dataset.rglob("*.parquet"))))
    if data.draw(st.booleans()):
        file.write_bytes(flipped(data, file.read_bytes()))
    else:
        table = pq.read_table(file)
        header = {key.decode(): value.decode(errors="replace") for key, value in (table.schema.metadata or {}).items()}
        told = {key: json.loads(value) if value[:1] in "{[" else value for key, value in header.items()}
        made = changed(data, told or {"x": 1})
        made = made if isinstance(made, dict) else {"x": made}
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in made.items()}
        safe = {key.encode("utf-8", "replace"): value.encode("utf-8", "replace") for key, value in texts.items()}
        if data.draw(st.booleans()):
            table = table.drop_columns([data.draw(st.sampled_from(table.column_names))])
        pq.write_table(table.replace_schema_metadata(safe), file)
    _looked_at(dataset, again=data.draw(st.integers(0, 4)) == 0)


def _looked_at(dataset: Path, again: bool) -> None:
    """As `status`, `verify`, `evaluate` and, now and then, another run look at it; each has its say."""
    said = []
    looks: list[Callable[[], object]] = [
        lambda: status(Dataset(dataset)),
        lambda: problems(Dataset(dataset)),
        lambda: load(dataset),
    ]
    if again:
        looks.append(lambda: generate(spec.parse(SPEC), dataset, workers=0))
    for look in looks:
        try:
            look()
        except RequestError as error:
            said.append(error)
    if said:
        raise said[0]


def _repacked(data: st.DataObject, content: bytes) -> bytes:
    """A skops file with another schema, or with its arrays exchanged."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    arrays = sorted(name for name in parts if name.endswith(".npy"))
    if arrays and data.draw(st.booleans()):
        one, other = data.draw(st.sampled_from(arrays)), data.draw(st.sampled_from(arrays))
        parts[one] = flipped(data, parts[one]) if data.draw(st.booleans()) else parts[other]
    else:
        parts["schema.json"] = json.dumps(changed(data, json.loads(parts["schema.json"]))).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, part in parts.items():
            file.writestr(name, part)
    return packed.getvalue()


def _resealed(model: Path) -> None:
    """Sealed anew, as whoever wrote it would have."""
    (file,) = (path for path in model.glob("classifier-*"))
    content = file.read_bytes()
    try:
        card = load_card(model)
    except RequestError:  # a seal is no use to it
        return
    sealed = replace(card, seal="").sealed(content)
    told = json.loads((model / "card.json").read_text()) | {"seal": sealed.seal}
    (model / "card.json").write_text(json.dumps(told))
    file.rename(model / sealed.file(file.suffix))


# -- the run -----------------------------------------------------------------------------------------------------------
class Watch:
    """While it is on, nothing outside a folder is written, and no process is started: whatever tries ends the run."""

    def __init__(self, root: Path) -> None:
        self.root, self.on = str(root), False
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in {"open", *WRITING}:
            return
        if event == "open" and not _writes(*arguments):
            return
        paths = [os.fsdecode(each) for each in arguments if isinstance(each, str | bytes | os.PathLike)]
        folder = arguments[-1]  # a descriptor, to which a path is relative
        base = (
            os.readlink(f"/proc/self/fd/{folder}") if event != "open" and isinstance(folder, int) and folder > 2 else ""
        )
        for path in paths[:1] if event == "open" else paths or ["a process"]:
            place = os.path.realpath(os.path.join(base, path))
            if not place.startswith((self.root, os.devnull)):
                print(f"{event} of {place!r}, outside {self.root}", file=sys.stderr, flush=True)
                faulthandler.dump_traceback()
                os._exit(3)


def _writes(path: Any, mode: Any, flags: Any) -> bool:
    opened = isinstance(mode, str) and bool(set(mode) & set("wax+"))
    return isinstance(path, str | bytes | os.PathLike) and (opened or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR)))


def prepare() -> None:
    """What is changed: a dataset and three models."""
    generate(spec.parse(SPEC), BASE / "dataset", workers=0)
    for model in ("forest", "logistic", "xgboost"):
        train(BASE / "dataset", BASE / model, study=Study(features=("levels",), split="network"), model=model, refits=0)


def run(name: str, seconds: float, root: Path, watch: Watch) -> Counter[str]:
    """Inputs of one kind until the time is over, by what became of them."""
    found: Counter[str] = Counter()
    number = 0

    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        nonlocal number
        number += 1
        folder = root / f"{name.split('.')[0]}{number}"
        folder.mkdir()
        signal.alarm(HANGS)
        watch.on = True
        try:
            CASES[name](data, folder)
            found["worked"] += 1
        except RequestError as error:
            found["refused" if str(error).strip() else "silent"] += 1
        finally:
            watch.on = False
            signal.alarm(0)
            shutil.rmtree(folder)

    end, shown = time.monotonic() + seconds, set[str]()
    while time.monotonic() < end:
        try:
            one()
        except Exception as error:
            found["failed"] += 1
            if (kind := "".join(traceback.format_tb(error.__traceback__, -1))) not in shown:
                shown.add(kind)
                traceback.print_exception(error)
    return found


def main() -> None:
    """Try all kinds, and print what became of them."""
    global BASE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", choices=CASES, help="one kind")
    arguments = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.realpath(folder))
        os.environ["TMPDIR"] = tempfile.tempdir = os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(root)
        BASE = root / "base"
        prepare()
        kinds = [arguments.only] if arguments.only else list(CASES)
        print("| files | inputs | refused | worked | failed |\n|---|---|---|---|---|")
        failed = 0
        watch = Watch(root)
        for name in kinds:
            found = run(name, arguments.seconds / len(kinds), root, watch)
            print(
                f"| {name} | {found.total():,} | {found['refused']:,} | {found['worked']:,} | {found['failed']} |",
                flush=True,
            )
            failed += found["failed"] + found["silent"]
    sys.exit(failed > 0)


if __name__ == "__main__":
    BASE = Path()
    main()
