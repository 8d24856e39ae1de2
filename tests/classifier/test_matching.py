"""The same measurement of the reference: electrodes between which a recording lies, sessions, areas, what cannot be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from classifier.examples.sampling import spread
from classifier.examples.trajectories import Examples
from classifier.identify.matching import Measurement, drawn, ladder
from generator.dataset.electrodes import Electrode
from generator.errors import RequestError

LADDER = ["full", "units10_relative0.25", "units30_relative0.25", "units100_relative0.25", "units100_relative1"]
NAMES = ["activation_abs_mean", "step_activation_norm", "population_similarity"]


def examples(networks: int = 5, layers: int = 3, checkpoints: int = 12, electrode: str = "full") -> Examples:
    """Whose values say which network, layer, checkpoint and statistic they are of; deeper layers have fewer units."""
    network, layer, checkpoint, statistic = np.indices((networks, layers, checkpoints, len(NAMES)))
    values = (1000 * network + 100 * layer + checkpoint + 0.1 * statistic).reshape(-1, checkpoints, len(NAMES))
    found = Examples.from_arrays(values, NAMES, networks=np.repeat(np.arange(networks), layers).tolist())
    identity = found.identity.assign(electrode=electrode, units=np.tile(100 // 2 ** np.arange(layers), networks))
    return replace(found, identity=identity)


def measurement(**rest: object) -> Measurement:
    usual: dict[str, object] = {"statistics": tuple(NAMES), "sessions": 4, "areas": 1, "electrode": Electrode(100)}
    return Measurement(**{**usual, **rest})  # type: ignore[arg-type]


def test_an_electrode_lies_between_the_steps_with_fewer_and_more_units() -> None:
    found = ladder(LADDER, Electrode(54, noise_mode="relative", noise=0.3))
    share = np.log(54 / 30) / np.log(100 / 30)
    assert found == pytest.approx({"units30_relative0.25": 1 - share, "units100_relative0.25": share})
    assert ladder(LADDER, Electrode(30)) == {"units30_relative0.25": 1.0}


def test_outside_the_ladder_the_nearest_step_is_taken_and_the_nearest_noise() -> None:
    assert ladder(LADDER, Electrode(3)) == {"units10_relative0.25": 1.0}
    assert ladder(LADDER, Electrode(5000)) == {"units100_relative0.25": 1.0}
    assert ladder(LADDER, Electrode(60, noise_mode="relative", noise=0.9)) == {"units100_relative1": 1.0}
    assert ladder(LADDER, Electrode()) == {"full": 1.0}
    assert ladder(["full"], Electrode(60)) == {"full": 1.0}
    with pytest.raises(RequestError, match="no electrode that can be compared"):
        ladder(["units10_poisson5x1_redraw"], Electrode(60))


def test_sessions_one_after_the_other_are_the_first_checkpoints() -> None:
    found = drawn({"full": examples()}, {"full": 1.0}, measurement())
    assert len(found) == 10  # of three layers two have at least half of the units
    assert found.values[3, :, 0].tolist() == [1100, 1101, 1102, 1103]
    assert found.identity["network_id"].is_unique
    assert found.identity["origin"].tolist() == [str(number) for number in range(5) for _ in range(2)]


def test_areas_are_layers_in_the_order_of_the_network() -> None:
    found = drawn({"full": examples()}, {"full": 1.0}, measurement(areas=2, electrode=Electrode(20)))
    layers = found.values[:, 0, 0].reshape(-1, 2) % 1000 // 100
    assert len(found) == 5 * 2 * 2
    assert (np.diff(layers, axis=1) > 0).all()
    assert len({tuple(each) for each in layers.tolist()}) > 1  # not always the same
    assert found.identity["depth"].tolist() == ["deep", "deep"] * 10
    assert (found.identity.groupby("network_id").size() == 2).all()
    with pytest.raises(RequestError, match="no network of the reference has 4 layers"):
        drawn({"full": examples()}, {"full": 1.0}, measurement(areas=4))


def test_each_network_is_measured_with_the_electrodes_as_often_as_they_are_near() -> None:
    loaded = {"few": examples(400, electrode="few"), "many": examples(400, electrode="many")}
    loaded["many"] = replace(loaded["many"], values=loaded["many"].values + 0.5)
    found = drawn(loaded, {"few": 0.25, "many": 0.75}, measurement())
    many = found.identity["electrode"] == "many"
    assert 0.7 < many.mean() < 0.8
    np.testing.assert_array_equal(found.values[:, 0, 0] % 1 > 0.4, many)
    pd.testing.assert_frame_equal(found.identity, drawn(loaded, {"few": 0.25, "many": 0.75}, measurement()).identity)


def test_sessions_at_times_of_their_own_are_spread_and_compare_no_neighbours() -> None:
    recorded = examples(1, 1, 4, "units100")
    even, uneven = Measurement.of(recorded, [0, 7, 14, 21]), Measurement.of(recorded, [0, 1, 2, 10])
    assert even.times is None
    assert even.statistics == tuple(NAMES)
    assert uneven.times == (0.0, 0.1, 0.2, 1.0)
    assert uneven.statistics == ("activation_abs_mean", "population_similarity")
    seen = drawn({"full": examples(200)}, {"full": 1.0}, uneven).values[:, :, 0] % 100
    assert (seen[:, 0] == 0).all()
    assert (np.diff(seen, axis=1) > 0).all()
    assert seen[:, -1].max() == 11
    assert len(np.unique(seen, axis=0)) > 3


def test_two_and_as_many_sessions_as_checkpoints_work_and_more_are_refused() -> None:
    rng = np.random.default_rng(0)
    assert spread((0.0, 1.0), 12, rng)[0] == 0
    assert spread(tuple(np.linspace(0, 1, 12) ** 2), 12, rng).tolist() == list(range(12))
    with pytest.raises(RequestError, match=r"13 sessions, and networks of the reference 12 checkpoints"):
        drawn({"full": examples()}, {"full": 1.0}, measurement(sessions=13))


def test_a_recording_and_a_reference_must_share_a_statistic() -> None:
    assert measurement().among({NAMES[2], "weight_abs_mean"}).statistics == (NAMES[2],)
    with pytest.raises(RequestError, match="none of the statistics that were recorded, such as activation_abs_mean"):
        measurement().among({"weight_abs_mean"})
