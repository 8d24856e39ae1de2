"""Recordings as datasets of the contract: what their files say, and what reads, judges and refuses them."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from typer.testing import CliRunner

import rulescope
from generator.api import generate, merge, plan, rerun, status, verify
from generator.dataset import schema
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import DatasetError
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.recordings.matched import matched
from generator.recordings.recording import Recording
from generator.recordings.written import write
from generator.spec.spec import of

SIMULATED = Path(__file__).parents[1] / "data" / "schema2"
FILES = ["observables/recording.parquet", "networks/recording.parquet"]


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Two areas over five sessions of eight trials, one stimulus missing, weights of one."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(1, 12, 1, 9)) + 0.3 * rng.normal(size=(5, 12, 1, 9)).cumsum(0)
    trials = signal + 0.4 * rng.normal(size=(5, 12, 8, 9))
    trials[2, 3] = np.nan
    behind = np.maximum(signal @ rng.normal(size=(9, 7)), 0)
    weights = {"V1": rng.normal(size=(5, 40))}
    return Recording(
        {"V1": trials, "V4": behind}, weights=weights, classes=np.arange(12) % 3, name="mouse 1", up_to=["baseline"]
    )


@pytest.fixture(scope="module")
def whole(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write(recording, tmp_path_factory.mktemp("recorded") / "x"))


@pytest.fixture
def made(whole: Path, tmp_path: Path) -> Dataset:
    return Dataset(shutil.copytree(whole, tmp_path / "x"))


# -- what is written ---------------------------------------------------------------------------------------------------
def test_its_files_are_those_of_a_dataset(recording: Recording, whole: Path) -> None:
    """As pandas and pyarrow read them: what is known, what is not, and what was measured, area by area."""
    statistics, values = recording.measured()
    names = [one.name for one in statistics]
    rows = pd.read_parquet(whole / "observables")
    assert list(rows) == [*schema.IDENTITY_COLUMNS, *names]
    assert rows["layer"].tolist() == ["V1"] * 5 + ["V4"] * 5
    assert rows["checkpoint"].tolist() == [*range(5)] * 2
    assert rows["units"].tolist() == [9] * 5 + [7] * 5
    np.testing.assert_array_equal(rows[names].to_numpy().reshape(2, 5, -1), values.swapaxes(0, 1))
    electrode = Electrode.named(rows["electrode"].iloc[0])
    assert electrode == recording.electrode
    assert 0.05 < electrode.noise < 0.3
    (network,) = pd.read_parquet(whole / "networks.parquet").to_dict("records")
    told = (network[name] for name in ("network_id", "status", "checkpoints", "layers", "cohort"))
    assert (*told,) == (recording.network_id, "complete", 5, 2, "recording")
    for file in FILES:
        table = pq.read_table(whole / file)
        about = schema.header(table.schema, file)
        assert about["origin"] == "recording"
        assert table.schema.equals(schema.declared(about, file))
        for name in table.column_names:
            known = name in schema.KNOWN or name in names
            assert table.column(name).null_count == (0 if known else len(table)), name
    assert "origin" not in json.loads(schema.NETWORKS.metadata[schema.METADATA_KEY])


def test_its_settings_say_what_it_is(recording: Recording, whole: Path) -> None:
    settings, about = Dataset(whole).settings(), Dataset(whole).recording
    assert settings is not None
    assert about is not None
    assert settings["observables"] == ["weight", "step", "population", "coupling"]
    assert (about.name, about.areas, about.sessions, about.stimuli) == ("mouse 1", ("V1", "V4"), 5, 11)
    assert (about.followed, about.up_to, about.notes) == (True, ("baseline",), recording.notes)
    assert dict(about.noise) == {"V1": recording.areas[0].noise, "V4": None}


def test_units_that_are_not_followed_are_counted_session_by_session(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sessions = [rng.normal(size=(8, 5 + number)) for number in range(3)]
    dataset = write(Recording(sessions, followed=False), f"file://{tmp_path}/x")  # by its URI
    rows = pd.read_parquet(tmp_path / "x" / "observables")
    assert (rows["units"].tolist(), set(rows["electrode"])) == ([5, 6, 7], {"units7_redraw"})
    assert verify(dataset) == []


def test_its_name_follows_from_what_was_measured(recording: Recording) -> None:
    """Sixteen digits, of every number."""
    x = np.random.default_rng(0).normal(size=(3, 8, 6))
    moved = x.copy()
    moved[2, 7, 5] += 1e-3
    found = [Recording(x), Recording(moved), Recording(x, name="b"), Recording(x, followed=False), Recording({"V1": x})]
    found += [Recording(x, classes=[0, 1] * 4), Recording(x, up_to=["baseline"]), Recording(x, weights=x), recording]
    names = [one.network_id for one in found]
    assert len(set(names)) == len(names)
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)
    assert Recording(x).network_id == names[0]


def test_writing_again_does_nothing_or_what_is_missing(recording: Recording, made: Dataset, whole: Path) -> None:
    before = made.stamps()
    write(recording, made)
    assert made.stamps() == before
    for file in (*FILES, "networks.parquet"):
        made.remove(file)
        write(recording, made)
        assert (made.read(file), verify(made)) == ((whole / file).read_bytes(), [])
    Path(made, FILES[0]).write_bytes(Path(made, FILES[0]).read_bytes()[:-100])
    write(recording, made)
    assert verify(made) == []


def test_what_is_there_already_stays(recording: Recording, made: Dataset, tmp_path: Path) -> None:
    other = Recording(np.random.default_rng(1).normal(size=(5, 12, 9)), name="mouse 1")
    with pytest.raises(DatasetError, match="x is another recording's dataset already: name a new place"):
        write(other, made)
    x = np.random.default_rng(0).normal(size=(3, 8, 6))
    first, moved = Recording(x), Recording(np.where(x == x.max(), x - 0.1, x))  # of the same settings
    with pytest.raises(DatasetError, match="y is another recording's dataset already"):
        moved.write(first.write(tmp_path / "y"))
    simulated = shutil.copytree(SIMULATED, tmp_path / "s")
    with pytest.raises(DatasetError, match="s is another simulation's dataset already: name a new place"):
        write(recording, simulated)
    made.remove("cohorts.json")
    with pytest.raises(DatasetError, match=r"holds data files but no cohorts\.json"):
        write(recording, made)


# -- what judges it ----------------------------------------------------------------------------------------------------
def rewrite(made: Dataset, file: str, change: Callable[[pa.Table], pa.Table]) -> None:
    made.publish_table(file, change(pq.read_table(Path(made, file))))


def entry(column: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    """Put a value into the first row of a column."""

    def change(table: pa.Table) -> pa.Table:
        at, field = table.schema.get_field_index(column), table.schema.field(column)
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        array = pa.array([value, *table.column(column).to_pylist()[1:]], plain)
        return table.set_column(at, field, array.dictionary_encode() if pa.types.is_dictionary(field.type) else array)

    return change


def about(change: Mapping[str, Any]) -> Callable[[pa.Table], pa.Table]:
    """Put something into a file's header."""

    def changed(table: pa.Table) -> pa.Table:
        found = json.loads(table.schema.metadata[schema.METADATA_KEY]) | change
        return table.replace_schema_metadata({schema.METADATA_KEY: json.dumps(found).encode()})

    return changed


def drop_first(table: pa.Table) -> pa.Table:
    return table.slice(1)


def last_twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, len(table) - 1), table.slice(len(table) - 2, 1)])


def test_a_good_one_has_no_problem(made: Dataset) -> None:
    assert verify(made) == []
    assert made.damaged() == {}


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        (0, drop_first, "does not have its 10 rows"),
        (0, last_twice, "holds 1 rows twice"),
        (0, lambda table: table.take([1, 0, *range(2, 10)]), "is not sorted by network, layer, checkpoint"),
        (0, entry("layer", "V2"), "says layer = 'V2' of network .*, not 'V1'"),
        (0, entry("noise", 0.5), "says noise = 0.5 of network"),
        (0, entry("electrode", "full"), "does not have its 10 rows"),
        (0, entry("rule", "sgdm"), "says rule = 'sgdm' of network .*, not None"),
        (0, entry("batch_size", 7), "says batch_size = 7 of network .*, not None"),
        (0, entry("units", None), "lacks values of units"),
        (0, entry("population_similarity", None), "lacks values of population_similarity"),
        (0, lambda table: table.drop_columns(["step"]), "does not have the columns of a observables file"),
        (0, about({"origin": "simulation"}), "lacks values of rule, pathway"),
        (0, about({"origin": "dream"}), "names the origin 'dream'; this Rulescope knows simulation and recording"),
        (1, lambda table: pa.concat_tables([table, table]), "does not hold the networks recorded for it"),
        (1, entry("network_id", "0" * 16), "does not hold the networks recorded for it"),
        (1, entry("checkpoints", 4), "has 4 of 5 checkpoints"),
        (1, entry("layers", 3), "does not have its 15 rows"),
        (1, entry("status", "diverged"), "diverged network .* has 5 of 5 checkpoints"),
        (1, entry("versions", None), "lacks values of versions"),
    ],
)
def test_what_is_wrong_is_a_sentence(made: Dataset, file: int, change: Any, sentence: str) -> None:
    rewrite(made, FILES[file], change)
    found = verify(made)
    assert len(found) <= 2, found
    assert Path(made, FILES[file]).name in found[0]
    assert pd.Series(found).str.contains(sentence).any(), found


@pytest.mark.parametrize("file", FILES)
def test_files_that_are_missing_or_cut_short(made: Dataset, file: str) -> None:
    content = made.read(file)
    made.publish(file, content[:-50])
    (found,) = verify(made)
    assert f"{made}/{file} is not a readable Parquet file" in found
    made.remove(file)
    assert f"{made}/{file} is missing" in verify(made)


def test_an_area_less_in_both_files_is_noticed(made: Dataset) -> None:
    rewrite(made, FILES[0], lambda table: table.slice(0, 5))
    rewrite(made, FILES[1], entry("layers", 1))
    made.remove("networks.parquet")
    assert verify(made) == [f"{made}/{FILES[0]} has [1] layers, and the recording 2 areas"]


def test_other_statistics_than_the_observables_and_other_origins_than_the_files_are_noticed(made: Dataset) -> None:
    record = json.loads(made.read("cohorts.json"))
    record["settings"]["observables"] = ["step", "population"]
    made.publish("cohorts.json", json.dumps(record).encode())
    assert verify(made) == [f"the header of {made}/{FILES[0]} declares other statistics than the dataset's"]
    for key in ("origin", "recording"):
        del record["settings"][key]
    made.publish("cohorts.json", json.dumps(record).encode())
    said = "says recording, and cohorts.json that this is a simulation"
    assert any(said in one for one in verify(made))
    with pytest.raises(DatasetError, match=said):
        made.read_kind("observables")


def test_simulated_networks_lack_nothing(tmp_path: Path) -> None:
    """Neither a statistic nor what they are; nor does a header that says recording allow it."""
    made = Dataset(shutil.copytree(SIMULATED, tmp_path / "s"))
    name = next(iter(made.complete()))
    table = made.read_table(f"observables/{name}.parquet", "observables")
    known = schema.header(table.schema, name)["statistics"]
    last = next(reversed(known))
    fewer = about({"statistics": {one: parts for one, parts in known.items() if one != last}})
    made.publish_table(f"observables/{name}.parquet", fewer(table.drop_columns([last])))
    assert any("declares other statistics than the dataset's" in one for one in verify(made))
    rewrite(made, f"networks/{name}.parquet", entry("rule", None))
    assert any("lacks values of rule" in one for one in verify(made))
    rewrite(made, f"networks/{name}.parquet", about({"origin": "recording"}))
    assert any("says recording, and cohorts.json that this is a simulation" in one for one in verify(made))


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "dream"},
        {"origin": []},
        {"recording": None},
        {"recording": {}},
        {"recording": {"areas": ["V1", "V1"]}},
        {"recording": {"areas": 5}},
        {"recording": {"sessions": "5"}},
        {"recording": {"stimuli": 0}},
        {"recording": {"followed": 1}},
        {"recording": {"notes": [3]}},
        {"recording": {"noise": {"V1": 0.1}}},
        {"recording": {"noise": {"V1": 0.1, "V4": "much"}}},
        {"recording": {"sessions": 4}},
        {"electrodes": []},
        {"name": None},
    ],
)
def test_settings_that_are_no_recording_s_are_refused(made: Dataset, change: dict[str, Any]) -> None:
    record = json.loads(made.read("cohorts.json"))
    settings = record["settings"]
    for key, value in change.items():
        settings[key] = settings[key] | value if isinstance(value, dict) and value else value
    made.publish("cohorts.json", json.dumps(record).encode())
    for ask in (verify, status):
        with pytest.raises(DatasetError, match=r"cohorts\.json (is damaged|names the origin)"):
            ask(made)


# -- what else reads it, and what refuses it ---------------------------------------------------------------------------
def test_commands_say_what_it_is(made: Dataset, recording: Recording, command: Any) -> None:
    said = command("status", made.location).stdout
    parts = ("a recording, mouse 1: 5 sessions of 11 stimuli, the same units in every session", "V4", "not known")
    for part in (*parts, "values are known up to baseline", *recording.notes):
        assert part in said
    assert "a recording, no problem found" in command("verify", made.location).stdout
    refused = command("generate", made.location)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.endswith("holds a recording: only simulated networks can be made from a spec\n")


def test_status_of_one_that_is_not_complete(made: Dataset) -> None:
    found = status(made)
    assert found.recording is not None
    assert found.recording.units == {"V1": (9, 9), "V4": (7, 7)}
    made.remove(FILES[0])
    found = status(made)
    assert found.recording is not None
    assert (found.complete, found.cohorts, found.recording.units) == (0, 1, {})


SPEC: dict[str, Any] = {
    "name": "x",
    "checkpoints": 3,
    "grid": [{"task": "digits", "architecture": "mlp2", "rule": "sgdm", "epochs": 1}],
}


@pytest.mark.parametrize(
    ("ask", "deed"),
    [
        (lambda made: plan(made), "be made from a spec"),
        (lambda made: generate(made), "be made from a spec"),
        (lambda made: generate(SPEC, made, workers=0), "be gone on with"),
        (lambda made: rerun(made, made.cohorts()[0].network_ids[0]), "be trained again"),
        (lambda made: merge(f"{made}-both", made, SIMULATED), "be merged"),
        (lambda made: merge(f"{made}-both", SIMULATED, made), "be merged"),
        (lambda made: merge(made, SIMULATED, SIMULATED), "be gone on with"),
    ],
)
def test_no_network_of_it_can_be_trained(made: Dataset, ask: Callable[[Dataset], Any], deed: str) -> None:
    before = made.stamps()
    with pytest.raises(RequestError, match=f"holds a recording: only simulated networks can {deed}"):
        ask(made)
    assert made.stamps() == before


# -- networks that are measured as it was --------------------------------------------------------------------------------
SMALL: dict[str, Any] = {
    "name": "small",
    "root_seed": 3,
    "electrode": [{"units": [10, 30], "noise": 0.5}],
    "snapshots": {"networks": 1},
    "grid": [{"task": "digits", "architecture": "mlp2", "rule": ["sgdm", "fa"], "width": 0.25, "epochs": 3}],
}


def test_a_spec_measures_the_same_networks_as_a_recording_was(whole: Path, recording: Recording) -> None:
    found, spec = matched(Dataset(whole), of(SMALL)), of(SMALL)
    assert [one.network_id for one in found.networks] == [one.network_id for one in spec.networks]
    assert (found.name, found.probe, found.checkpoints, found.snapshots) == ("small-mouse-1", 11, 5, None)
    assert [one.name for one in found.electrodes] == ["full", recording.electrode.name]
    assert set(found.measured) == {one.observable for one in recording.measured()[0]}
    assert of(tomllib.loads(found.to_toml())) == found


def test_other_units_and_times_of_their_own_are_kept(tmp_path: Path) -> None:
    y = np.random.default_rng(0).normal(size=(4, 12, 9))
    irregular = Recording(y, times=[0, 1, 5, 7], followed=False)
    found = matched(irregular.write(tmp_path / "x"), of(SMALL))
    assert found.checkpoints == 21
    assert found.electrodes[-1] == Electrode(9, redraw=True)
    with pytest.raises(RequestError, match="holds simulated networks"):
        matched(Dataset(SIMULATED), of(SMALL))


def test_the_command_writes_the_spec(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(tomli_w.dumps(SMALL))
    arguments = ["match", str(whole), str(tmp_path / "small.toml"), "--out", str(tmp_path / "like.toml")]
    found = CliRunner().invoke(rulescope.command_line(), arguments)
    assert found.exit_code == 0, found.output
    assert "2 networks" in found.output
    assert rulescope.Spec.model_validate(tomllib.loads((tmp_path / "like.toml").read_text())).probe == 11
