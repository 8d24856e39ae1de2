"""An oracle for splits by scenario: scikit-learn alone names the rule of networks of scenarios it has not seen.

Written from docs/dictionary.md; it shares no code with the classifier package.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupShuffleSplit

# A network's design. Left out: its seeds and hashes of them; rule, pathway, update, rule_parameters and rate, which follow
# from the rule; steps, weights and layers, which follow from the design; outcomes (status, reason, checkpoints, final_*)
# and bookkeeping (cohort, seconds, device, versions).
DESIGN = [
    *("family", "architecture", "nonlinearity", "width", "stem", "pixels"),
    *("task", "objective", "curriculum", "batch_size", "epochs"),
    *("learning_rate", "schedule", "weight_decay", "precision"),
]
STATISTICS = 45


def read_networks(dataset: Path) -> pd.DataFrame:
    """Complete networks by network_id, with their rule and the number of their scenario."""
    table = pd.read_parquet(dataset / "networks", columns=["network_id", "rule", "status", *DESIGN])
    table = table[table["status"] == "complete"].astype({"network_id": str, "rule": str})
    table["scenario"] = table.groupby(DESIGN, observed=True, dropna=False).ngroup()
    if table["network_id"].duplicated().any():
        raise ValueError("a network twice")
    return table.set_index("network_id")[["rule", "scenario"]].sort_index()


def read_layers(dataset: Path, networks: pd.Index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every layer: the row of its network, its depth, and its trajectory (layers × checkpoints × statistics)."""
    rows = pd.read_parquet(dataset / "observables", filters=[("electrode", "==", "full")])
    rows["network"] = networks.get_indexer(pd.Index(rows["network_id"].astype(str)))
    rows = rows[rows["network"] >= 0].sort_values(["network", "layer_index", "checkpoint"])
    statistics = [name for name in rows.columns if name.startswith(("weight_", "activation_", "change_"))]
    if len(statistics) != STATISTICS:
        raise ValueError(f"{len(statistics)} statistics instead of {STATISTICS}")
    times = rows["checkpoint"].nunique()
    checkpoints = rows["checkpoint"].to_numpy().reshape(-1, times)
    layers = rows[["network", "layer_index"]].to_numpy().reshape(-1, times, 2)
    if (checkpoints != np.arange(times)).any() or (layers != layers[:, :1]).any():
        raise ValueError("a layer of a complete network has not exactly one row per checkpoint")
    if len(np.unique(layers[:, 0], axis=0)) != len(layers) or len(np.unique(layers[:, 0, 0])) != len(networks):
        raise ValueError("a layer twice, or a complete network without rows")
    trajectories = rows[statistics].to_numpy(np.float64).reshape(-1, times, STATISTICS)
    return layers[:, 0, 0], rows["depth"].astype(str).to_numpy()[::times], trajectories


def dynamics(trajectories: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Log ratios of successive checkpoints, trajectories standardised over their own time, and one-hot depth."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = np.log(np.abs(trajectories[:, 1:] / trajectories[:, :-1]))
        mean, deviation = trajectories.mean(axis=1, keepdims=True), trajectories.std(axis=1, keepdims=True)
        standardised = (trajectories - mean) / deviation
    one_hot = depth[:, None] == np.array(["early", "middle", "deep"])
    flat = [part.reshape(len(trajectories), -1) for part in (ratios, standardised, one_hot)]
    return np.concatenate(flat, axis=1)


def split_accuracies(
    networks: pd.DataFrame, network_of: np.ndarray, features: np.ndarray, splits: int, seed: int
) -> list[float]:
    """Balanced accuracy per network of each split; a quarter of the scenarios is the test part."""
    # The trees take missing values as such, infinite ones not.
    features = np.where(np.isfinite(features), features, np.nan).astype(np.float32)
    rules, scenarios = networks["rule"].to_numpy(), networks["scenario"].to_numpy()
    accuracies = []
    splitter = GroupShuffleSplit(n_splits=splits, test_size=0.25, random_state=seed)
    for train, test in splitter.split(networks, rules, groups=scenarios):
        if set(scenarios[train]) & set(scenarios[test]):
            raise AssertionError("a scenario is on both sides")
        fitted, asked = np.isin(network_of, train), np.isin(network_of, test)
        trees = ExtraTreesClassifier(n_estimators=150, max_features=0.05, random_state=seed, n_jobs=1)
        trees.fit(features[fitted], rules[network_of[fitted]])
        scores = np.zeros((len(networks), len(trees.classes_)))
        np.add.at(scores, network_of[asked], np.log(trees.predict_proba(features[asked]) + 1e-3))
        named = trees.classes_[scores[test].argmax(axis=1)]
        accuracies.append(float(balanced_accuracy_score(rules[test], named)))
    return accuracies


def scenario_accuracy(dataset: Path, splits: int, seed: int) -> list[float]:
    """Balanced accuracy per network in random splits by scenario, from the dynamics of all statistics."""
    networks = read_networks(dataset)
    network_of, depth, trajectories = read_layers(dataset, networks.index)
    return split_accuracies(networks, network_of, dynamics(trajectories, depth), splits, seed)


def untrained_accuracy(dataset: Path, splits: int, seed: int) -> list[float]:
    """The same from the statistics before the first update alone, as they are: no better than chance."""
    networks = read_networks(dataset)
    network_of, _, trajectories = read_layers(dataset, networks.index)
    return split_accuracies(networks, network_of, trajectories[:, 0], splits, seed)
