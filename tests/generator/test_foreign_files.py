"""What a stranger's files, or a broken disk, may hold: every command that reads them says one sentence, and none waits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import rulescope
from generator.clusters import site
from generator.dataset import schema
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running.generate import dry_run, generate
from generator.running.hold import living
from generator.running.verify import problems
from generator.spec import spec
from generator.spec.spec import parse

SPEC = 'name = "x"\ncheckpoints = 3\nprobe = 16\n[[grid]]\ntask = "digits"\narchitecture = "mlp2"\n'
SPEC += 'rule = ["sgdm", "adam"]\nepochs = 1\nbatch_size = 200\nseeds = 2\n'
PARTS = ("observable", "function", "statistic", "meaning")
DEEP, LONG = 10_000, "9" * 5000


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    generate(parse(SPEC), root / "x", workers=0)
    return root / "x"


@pytest.fixture
def made(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "x"))


def said(*arguments: object) -> str:
    """What a command says that cannot do it, or `verify` of a dataset that is not sound: a line."""
    found = CliRunner().invoke(rulescope.command_line(), [str(one) for one in arguments])
    if isinstance(found.exception, RequestError):
        text = str(found.exception)
        assert len(text.splitlines()) == 1, text
    else:
        assert arguments[0] == "verify", found
        assert found.exit_code == 1, found
        text = found.stdout
    assert len(text) < 1000
    return text


def headed(path: Path, header: str) -> None:
    """Give a table another header."""
    pq.write_table(pq.read_table(path).replace_schema_metadata({schema.METADATA_KEY: header}), path)


def spoil(path: Path, content: bytes | str | None) -> None:
    """Put something in the place of a file: bytes, a folder or a pipe."""
    path.unlink()
    if content is None:
        path.mkdir()
    elif content == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


READERS: dict[str, Callable[[Path], list[Any]]] = {
    "generate": lambda x: ["generate", x.parent / "x.toml", "--out", x, "--workers", 0],
    "dry": lambda x: ["generate", x.parent / "x.toml", "--out", x, "--dry-run"],
    "verify": lambda x: ["verify", x],
    "status": lambda x: ["status", x],
    "merge": lambda x: ["merge", x.parent / "both", x, x],
    "rerun": lambda x: ["rerun", x, ""],
    "curves": lambda x: ["curves", x],
    "evaluate": lambda x: ["evaluate", x, "--models", "forest"],
    "controls": lambda x: ["controls", x],
    "report": lambda x: ["report", x],
}
BROKEN = {
    "nothing": b"",
    "no text": b"\xff\xfe\0",
    "deep": "[" * DEEP,
    "deep object": '{"schema_version": 2, "settings": ' + '{"a":' * DEEP,
    "long number": '{"schema_version": 2, "settings": ' + LONG + ', "cohorts": []}',
    "list": "[]",
    "settings": '{"schema_version": 2, "settings": [], "cohorts": []}',
    "checkpoints": '{"schema_version": 2, "settings": {"checkpoints": "3"}, "cohorts": []}',
    "huge checkpoints": '{"schema_version": 2, "settings": {"checkpoints": 1' + "0" * 99 + '}, "cohorts": []}',
    "electrodes": '{"schema_version": 2, "settings": {"electrodes": [1]}, "cohorts": []}',
    "version": '{"schema_version": 2, "identity_version": [], "settings": {}, "cohorts": []}',
    "folder": None,
    "pipe": "pipe",
}


@pytest.mark.parametrize(
    ("command", "broken"),
    [*(("verify", one) for one in BROKEN), *product(READERS, ("deep object", "checkpoints", "pipe"))],
)
def test_a_record_of_cohorts_that_is_none(command: str, broken: str, made: Path) -> None:
    (made.parent / "x.toml").write_text(SPEC)
    spoil(made / "cohorts.json", BROKEN[broken])
    assert "cohorts.json" in said(*READERS[command](made))


@pytest.mark.parametrize(
    "broken",
    [
        *(BROKEN[name] for name in ("no text", "deep", "folder", "pipe")),
        "a = " + LONG,
        "name = 0x" + "f" * 9999,
        "a" + ".a" * DEEP + " = 1",
    ],
    ids=[*("no text", "deep", "folder", "pipe"), "digits", "hexadecimal", "dots"],
)
@pytest.mark.parametrize("command", ["merge", "plan", "generate"])
def test_a_spec_that_is_none(command: str, broken: bytes | str | None, made: Path) -> None:
    spoil(made / "spec.toml", broken)
    order = READERS[command](made) if command == "merge" else [command, made / "spec.toml"]
    assert "spec.toml" in said(*order)


def test_a_dataset_without_its_spec(made: Path) -> None:
    (made / "spec.toml").unlink()
    assert said(*READERS["merge"](made)) == f"cannot read {made}/spec.toml: No such file or directory"


@pytest.mark.parametrize("kind", ["observables", "networks"])
@pytest.mark.parametrize("broken", ["nothing", "no text", "deep", "footer", "header", "deep header"])
@pytest.mark.parametrize("command", ["verify", "curves"])
def test_a_table_that_is_none(command: str, broken: str, kind: str, made: Path) -> None:
    path = next((made / kind).iterdir())
    if broken == "footer":
        content = path.read_bytes()
        spoil(path, content[:-200] + b"\xff" * 192 + content[-8:])
    elif broken.endswith("header"):
        about = {"schema_version": schema.SCHEMA_VERSION, "kind": [], "columns": 5}
        headed(path, json.dumps(about) if broken == "header" else "[" * DEEP)
    else:
        spoil(path, BROKEN[broken])
    assert path.name in said(*READERS[command](made))


@pytest.mark.parametrize("statistics", [5, {"a": 5}, {"a": {}}, {"weight_raw_mean": dict.fromkeys(PARTS, 5)}])
def test_a_header_that_does_not_say_what_its_statistics_are(statistics: object, made: Path) -> None:
    path = next((made / "observables").iterdir())
    about = schema.header(pq.read_schema(path), "")
    for wrong in ({"statistics": statistics}, {"statistic": about.pop("statistics")}):
        headed(path, json.dumps(about | wrong))
        assert f"the header of {path} is damaged" in said("verify", made)


@pytest.mark.parametrize("name", ["observables", "networks"])
@pytest.mark.parametrize("command", ["generate", "dry", "verify", "status", "merge", "curves"])
def test_a_file_where_a_folder_should_be(command: str, name: str, made: Path) -> None:
    (made.parent / "x.toml").write_text(SPEC)
    shutil.rmtree(made / name)
    (made / name).write_text("")
    assert f"cannot read {made}/{name}: Not a directory" in said(*READERS[command](made))


def test_what_may_not_be_read_is_said_to_be_so(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, who runs tests, may read everything, pyarrow's refusal stands in for the system's."""

    class Forbidding:
        def __getattr__(self, name: str) -> Any:
            def refuse(path: object) -> None:
                raise PermissionError(13, "Cannot … Detail: [errno 13] Permission denied")

            return refuse

    for reach in (
        lambda d: d.exists("a"),
        lambda d: d.read("a"),
        lambda d: d.open("a"),
        lambda d: d.files("a"),
        lambda d: d.occupied(),
        lambda d: d.check_vacant(),
        lambda d: d.read_table("a", "networks"),
        lambda d: d.cohorts(),
    ):
        dataset = Dataset(made)
        dataset.fs = Forbidding()
        with pytest.raises(RequestError, match=r"^cannot read .*: Permission denied$"):
            reach(dataset)


@pytest.mark.parametrize(
    "text", ["a = " + "[" * DEEP, "a = " + LONG, "a = " + "[" * 60 + "]" * 60, "a = 9223372036854775808"]
)
def test_a_site_file_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(RequestError, match=r"cannot read the site file .*a\.toml: not valid TOML: (it|a) "):
        site.read(tmp_path / "a.toml")


def test_a_mapping_that_is_no_spec() -> None:
    deep: dict[str, Any] = {}
    for _ in range(DEEP):
        deep = {"a": deep}
    with pytest.raises(RequestError, match="the spec holds what a TOML file cannot"):
        spec.of({"name": "x", "grid": deep})


def test_a_value_of_a_megabyte_is_not_shown_whole() -> None:
    with pytest.raises(RequestError, match="…") as found:
        parse(SPEC.replace("probe = 16", f'probe = "{"a" * 10**6}"'))
    assert len(str(found.value)) < 500


@pytest.mark.parametrize("held", [{"at": "now"}, {"pid": "1"}, {"pid": 2**99}, {"host": 5}, {"at": float("nan")}])
def test_a_sign_of_life_that_is_none(held: dict[str, Any], tmp_path: Path) -> None:
    sign = {"token": "a", "host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}
    for about, lives in ((sign, True), (sign | held, False)):
        (tmp_path / "driver.json").write_text(json.dumps(about))
        assert bool(living(Dataset(tmp_path))) == lives


def test_a_column_of_another_type_is_refused(made: Path) -> None:
    path = next((made / "networks").iterdir())
    table = pq.read_table(path)
    place = table.schema.get_field_index("checkpoints")
    pq.write_table(table.set_column(place, "checkpoints", pa.array([[1]] * len(table))), path)
    assert "does not have the columns of a networks file" in said("verify", made)


@pytest.mark.parametrize("kind", ["observables", "networks"])
@pytest.mark.parametrize("broken", ["cut", "rows", "another's", "flipped"])
def test_a_damaged_file_is_made_again(broken: str, kind: str, made: Path, whole: Path) -> None:
    paths = sorted((made / kind).iterdir())
    content, dataset = paths[0].read_bytes(), Dataset(made)
    if broken == "rows":
        dataset.publish_table(f"{kind}/{paths[0].name}", dataset.read_table(f"{kind}/{paths[0].name}", kind)[1:])
    else:
        changed = {
            "cut": content[:-99],
            "another's": paths[1].read_bytes(),
            "flipped": content[:-20] + bytes(16) + content[-4:],
        }
        paths[0].write_bytes(changed[broken])
    assert len(dataset.damaged()) == 1
    lines: list[str] = []
    assert "1 of 2 cohorts complete" in dry_run(parse(SPEC), made)[0]
    assert generate(parse(SPEC), made, workers=0, say=lines.append).done_now == 4
    assert f"cohort {paths[0].stem} is made again: {paths[0]} " in lines[0]
    assert any(json.dumps(lines[0]) in file.read_text() for file in (made / "log").iterdir())
    assert problems(dataset) == []
    assert all(
        path.read_bytes() == (whole / "observables" / path.name).read_bytes()
        for path in (made / "observables").iterdir()
    )


def test_a_file_of_another_s_is_not_made_again(made: Path) -> None:
    path = next((made / "observables").iterdir())
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(RequestError, match=rf"{path} was not written by Rulescope"):
        generate(parse(SPEC), made, workers=0)
    assert pq.read_table(path).column_names == ["a"]


def test_a_state_in_training_that_is_none_is_said_and_trained_from_the_start(made: Path) -> None:
    (path, _) = (made / "networks").iterdir()
    path.unlink()
    (made / "_inflight" / f"{path.stem}.safetensors").write_bytes(b"damaged")
    lines: list[str] = []
    assert generate(parse(SPEC), made, workers=0, say=lines.append).done_now == 4
    assert (
        f"_inflight/{path.stem}.safetensors is not gone on with, and the cohort is trained from the start" in lines[0]
    )
    assert any('"event": "anew"' in file.read_text() for file in (made / "log").iterdir())
    assert problems(Dataset(made)) == []


@pytest.mark.parametrize("command", ["curves", "evaluate", "status", "merge", "generate"])
def test_a_label_that_is_not_there_is_no_label(command: str, made: Path) -> None:
    (made.parent / "x.toml").write_text(SPEC)
    path = next((made / "networks").iterdir())
    table = pq.read_table(path)
    for name in ("rule", "status", "network_id", "checkpoints"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.nulls(len(table), table.schema.field(name).type))
    pq.write_table(table, path)
    assert f"{path} lacks values of " in said(*READERS[command](made))


def test_a_network_that_the_spec_lacks_is_not_trained_again(made: Path) -> None:
    (made / "spec.toml").write_text(SPEC.replace('"adam"', '"fa"'))
    (network,) = {c.network_ids[0] for c in Dataset(made).cohorts() if c.name.startswith("adam")}
    assert said("rerun", made, network) == (
        f"{made}/spec.toml no longer gives the network {network}: it, or its data, has changed"
    )


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "a" * 300 + ".toml", "/" + "a/" * 3000])
def test_a_name_that_no_file_has_is_a_sentence(name: str) -> None:
    for read in (spec.read, site.read, lambda name: site.choose(f"{name}.json", None)):
        with pytest.raises(RequestError, match=r"cannot read the (spec|site file)|there is no scheduler file"):
            read(name)
