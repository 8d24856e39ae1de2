"""Electrodes: names that say all, and specs that ask for them."""

from __future__ import annotations

import numpy as np
import pytest

from generator.dataset.electrodes import FULL, Electrode
from generator.dataset.noise import MODES
from generator.errors import RequestError
from generator.spec.planning import plan
from generator.spec.spec import Spec
from generator.spec.spec import parse as parse_spec

GRID = '[[grid]]\ntask = "digits"\narchitecture = "mlp2"\nrule = "sgdm"\nepochs = 1\n'


def spec(electrode: str) -> Spec:
    return parse_spec(f'name = "x"\ncheckpoints = 3\nprobe = 16\n{electrode}\n{GRID}')


@pytest.mark.parametrize("seed", range(50))
def test_names_parse_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = rng.choice([{}, {"units": int(rng.integers(1, 5000))}, {"fraction": float(rng.choice([0.1, 1e-5, 0.25]))}])
    level = float(rng.choice([0.5, 2.0, 1e-7, 1e20, rng.random()]))
    mode = MODES[str(rng.choice(list(MODES)))]
    levels = {name: level * 0.5**i for i, name in enumerate(mode.levels)}
    noise = {"noise_mode": mode.name, **levels, "noise": mode.amount(**levels)}
    where = {"synapses": str(rng.choice(["single", "between"])), "redraw": bool(rng.random() < 0.5)}
    electrode = Electrode(**size, **noise, **where, seed=int(rng.integers(3)))
    assert Electrode.named(electrode.name) == electrode


def test_a_name_says_only_what_is_not_full() -> None:
    assert FULL.name == Electrode(fraction=1.0).name == "full"
    assert Electrode(units=30, noise_mode="relative", noise=0.5, seed=1).name == "units30_relative0.5_seed1"
    assert Electrode(noise_mode="poisson", noise=5.0, rate=10.0, window=0.5).name == "poisson10x0.5"


@pytest.mark.parametrize(
    "name", ["", "units", "units03", "seed0", "half", "relative0.50", "between_units3", "full_seed1"]
)
def test_other_names_are_no_electrodes(name: str) -> None:
    with pytest.raises(RequestError, match="is not the name of an electrode"):
        Electrode.named(name)


def test_counts() -> None:
    assert [Electrode(fraction=0.1).count(n) for n in (1, 10, 11, 64)] == [1, 1, 2, 7]
    assert [Electrode(fraction=f).count(100) for f in (0.07, 0.14, 0.28, 0.29, 0.55, 0.57)] == [7, 14, 28, 29, 55, 57]
    assert [Electrode(fraction=round(i / 1000, 3)).count(1000) for i in range(1, 1001)] == [*range(1, 1001)]
    assert Electrode(fraction=1e-5).count(10**6) == 10
    assert [Electrode(units=30).count(n) for n in (10, 30, 100)] == [10, 30, 30]
    assert FULL.count(17) == 17


def test_blocks_are_products_and_the_full_one_comes_first() -> None:
    text = '[[electrode]]\nunits = [10, "all"]\nnoise = [0.0, 0.5]\nseeds = 2\n'
    text += '[[electrode]]\nnoise_mode = "poisson"\nrate = [0.0, 10.0]\nwindow = 0.5\n'
    names = ["units10", "units10_seed1", "units10_relative0.5", "units10_relative0.5_seed1"]
    names += ["seed1", "relative0.5", "relative0.5_seed1", "poisson0x0.5", "poisson10x0.5"]
    assert [electrode.name for electrode in spec(text).electrodes] == ["full", *names]
    assert spec(text).settings()["electrodes"] == ["full", *names]
    assert parse_spec(spec(text).to_toml()) == spec(text)
    assert spec("").settings()["electrodes"] == ["full"]


@pytest.mark.parametrize(
    ("electrode", "sentence"),
    [
        ("fraction = 0.0", "electrode block 1: fraction: input should be greater than 0"),
        ("fraction = 1.5", "electrode block 1: fraction: input should be less than or equal to 1"),
        ("units = 0", "electrode block 1: units"),
        ("noise = -1.0", "electrode block 1: noise: input should be greater than or equal to 0"),
        ('noise_mode = "white"', "unknown noise mode 'white' in electrode block 1; known: absolute, none, poisson"),
        ('synapses = "dead"', "unknown kind of synapses 'dead' in electrode block 1; known: between, single"),
        ("units = 3\nfraction = 0.5", "electrode block 1: give units or a fraction of them, not both"),
        ('noise_mode = "poisson"', "takes rate .spikes per second. and window .seconds., and the block gives nothing"),
        ("rate = 3.0", "noise_mode 'relative' takes noise .a standard deviation., and the block gives rate"),
        (
            'noise_mode = "poisson"\nrate = 1.0\nwindow = 1.0\nnoise = 1.0',
            "and the block gives noise, rate, window; give noise modes that take other levels a block",
        ),
        ("unit = 3", "unknown key 'unit' in electrode block 1 .did you mean 'units'"),
    ],
)
def test_what_cannot_be_recorded_is_one_sentence(electrode: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        spec(f"[[electrode]]\n{electrode}")


def test_a_plan_says_where_units_fall_short() -> None:
    found = plan(spec('[[electrode]]\nunits = [5, 100, "all"]\nnoise = [0.0, 1.0]\n'))
    assert found.shortages == ("100 units are more than 1 of the 2 kinds of layer have: all of theirs are recorded",)
    assert found.electrodes == 6
    assert found.rows == 6 * 3 * 2
