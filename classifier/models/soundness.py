"""What a classifier from a stranger has to satisfy before it is asked anything.

Its types were judged before (`formats.py`). Here the numbers are: libraries in C follow the children of a tree, or the lengths of
a support vector machine, wherever they lead. Each function raises ValueError, with the reason in words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.models.estimators import log_scores, reads_networks
from classifier.models.layers import PLACE, DeepSets
from classifier.models.pooling import LAYOUT

DEEPEST = 50  # levels of objects in objects
ROOT = 2**31 - 1  # what XGBoost calls the parent of a root
# modules of scikit-learn whose estimators compute with numpy alone, or are looked at below
KNOWN = {
    "base", "calibration", "compose", "decomposition", "discriminant_analysis", "dummy", "ensemble", "feature_selection",
    "impute", "linear_model", "multiclass", "naive_bayes", "neighbors", "neural_network", "pipeline", "preprocessing",
    "svm", "tree", "utils",
}  # fmt: skip


def _demand(holds: bool | np.bool_, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def answers(classifier: Any, labels: int, features: int) -> None:
    """Whether a classifier names these classes from tables of so many features, and never with a score that is no number."""
    found = np.asarray(getattr(classifier, "classes_", ()))
    _demand(found.shape == (labels,) and (found == np.arange(labels)).all(), f"it does not name {labels} classes")
    given = features + LAYOUT * reads_networks(classifier)
    wants = getattr(classifier, "n_features_in_", given)
    _demand(wants == given, f"it reads {wants} features, and its card gives it {given}")
    table = np.zeros((3, features), dtype=np.float32)
    table[1], table[2] = 1, np.nan
    try:
        scores = log_scores(classifier, table, np.array([[0, 0], [0, 1], [1, 0]], dtype=np.float32))
    except Exception as error:  # whatever the state of a stranger's object makes a library raise
        raise ValueError(f"it cannot be asked: {error!r}") from error
    _demand(scores.shape == (3, labels) and np.isfinite(scores).all(), "its scores are not numbers, one for each class")


# -- scikit-learn ------------------------------------------------------------------------------------------------------
def fitted(classifier: Any) -> None:
    """Whether all that an estimator of scikit-learn's holds fits together."""
    for one, columns in _held(classifier):
        kind = type(one)
        if isinstance(one, np.ndarray):
            _demand(one.dtype.kind != "f" or np.isfinite(one).all(), "it holds numbers that are none (NaN or infinite)")
            _demand(one.dtype.kind in "biufOUSV", f"it holds an array of {one.dtype}")
        elif kind.__module__.startswith("sklearn."):
            _demand(kind.__module__.split(".")[1] in KNOWN, f"it holds a {kind.__name__}, which cannot be checked")
            check = {"Tree": _tree, "SVC": _svc, "NuSVC": _svc, "KNeighborsClassifier": _neighbours}.get(kind.__name__)
            if check and (check is _tree or any(name.endswith("_") for name in vars(one))):  # else it was never fitted
                check(one, columns)
        elif kind is DeepSets:
            _layers(one)


def unbuilt(trees: Sequence[tuple[Mapping[str, Any], tuple[Any, ...]]]) -> None:
    """Whether trees that are not built yet, their states and their constructor's arguments, are as large as they say."""
    for state, arguments in trees:
        _demand(isinstance(state, Mapping) and len(arguments) == 3, "a tree is not made as trees are")
        features, classes, outputs = arguments
        whole = (features, outputs, state["node_count"], state["max_depth"])
        _demand(all(type(one) is int and 0 <= one < 2**31 for one in whole), "a size of a tree is no number")
        nodes, values = state["nodes"], state["values"]
        _demand(all(isinstance(one, np.ndarray) for one in (classes, nodes, values)), "a tree lacks its nodes")
        _demand(classes.dtype.kind == "i" and classes.shape == (outputs,) and outputs > 0, "a tree has no classes")
        shape = (state["node_count"], outputs, classes.max())
        _demand(
            nodes.shape == shape[:1] and values.shape == shape and min(shape) > 0,
            "a tree has not as many nodes as it says",
        )


def _held(top: Any) -> Iterator[tuple[Any, int | None]]:
    """All that an object holds, itself first, and how many columns the estimator reads that it is of, where that is known."""
    seen: set[int] = set()
    waiting: list[tuple[Any, int | None, int]] = [(top, None, 0)]
    while waiting:
        one, columns, depth = waiting.pop()
        if id(one) in seen or one is None or isinstance(one, str | bytes | bool | int | float):
            continue
        seen.add(id(one))
        _demand(depth <= DEEPEST, "it is nested too deeply")
        inside = getattr(one, "__dict__", {})
        own = inside.get("n_features_in_")
        if type(one).__name__ in ("Pipeline", "Pooled"):  # whose parts make columns for each other
            columns = None
        elif isinstance(own, int | np.integer):
            _demand(columns is None or own <= columns, f"a part of it reads {own} columns of {columns}")
            columns = int(own)
        yield one, columns
        if isinstance(one, Mapping):
            inside = one
        elif isinstance(one, list | tuple | set) or (isinstance(one, np.ndarray) and one.dtype == object):
            inside = dict(enumerate(np.ravel(one) if isinstance(one, np.ndarray) else one))
        gaps = type(one).__name__ == "SimpleImputer"  # which has nothing for a column that never had a value
        waiting += [(each, columns, depth + 1) for name, each in inside.items() if not (gaps and name == "statistics_")]


def _tree(tree: Any, columns: int | None) -> None:
    """Every node but the root is the child of one node before it; features are columns; leaves hold numbers."""
    state = tree.__getstate__()
    nodes, values, count = state["nodes"], state["values"], state["node_count"]
    _demand(count == len(nodes) == len(values) > 0, "a tree has not as many nodes as it says")
    _demand(tree.n_features <= (columns or 0), f"a tree reads {tree.n_features} columns of {columns}")
    _demand(np.isfinite(values).all(), "a leaf of a tree holds no numbers")
    left, right = nodes["left_child"], nodes["right_child"]
    _children(left, right)
    inner = left != -1
    asked = nodes["feature"][inner]
    _demand(((asked >= 0) & (asked < tree.n_features)).all(), "a tree asks for a column that there is not")
    _demand(~np.isnan(nodes["threshold"][inner]).any(), "a threshold of a tree is no number")


def _children(left: NDArray[np.integer], right: NDArray[np.integer]) -> None:
    inner = left != -1
    _demand(((right != -1) == inner).all(), "a node of a tree has one child")
    places, children = np.flatnonzero(inner), np.concatenate([left[inner], right[inner]])
    after = (np.minimum(left[inner], right[inner]) > places).all()
    _demand(
        after and np.array_equal(np.sort(children), np.arange(1, len(left))), "the nodes of a tree do not form a tree"
    )


def _svc(machine: Any, columns: int | None) -> None:
    vectors, classes = machine.support_vectors_, len(machine.classes_)
    pairs = classes * (classes - 1) // 2
    count = len(vectors)
    fits = (
        vectors.shape == (count, machine.n_features_in_)
        and machine._n_support.shape == (classes,)
        and (machine._n_support >= 0).all()
        and machine._n_support.sum() == count == len(machine.support_)
        and machine._dual_coef_.shape == (max(classes - 1, 1), count)
        and machine._intercept_.shape == (pairs,)
        and all(len(one) in (0, pairs) for one in (machine._probA, machine._probB))
        and not machine._sparse
        and machine.kernel in ("linear", "poly", "rbf", "sigmoid")
    )
    _demand(fits, "a support vector machine does not fit together")


def _neighbours(neighbours: Any, columns: int | None) -> None:
    known, codes = neighbours._fit_X, neighbours._y
    kept = neighbours._fit_method == "brute" and neighbours._tree is None
    _demand(kept, "its known examples stand in a tree, which cannot be checked; with algorithm='brute' they do not")
    fits = (
        known.shape == (neighbours.n_samples_fit_, neighbours.n_features_in_)
        and codes.shape == (len(known),)
        and codes.dtype.kind == "i"
        and ((codes >= 0) & (codes < len(neighbours.classes_))).all()
    )
    _demand(fits, "its known examples do not fit together")


def _layers(sets: DeepSets) -> None:
    """Every layer of the network reads what the one before gives."""
    weights, offsets, members = sets.weights_, sets.offsets_, len(sets.weights_[0])
    inputs = len(sets.columns) + int(np.sum(sets.flagged_)) + PLACE
    _demand(np.shape(sets.flagged_) == (len(sets.columns),), "it does not say which of its columns have gaps")
    _demand(len(weights) == len(offsets) == 4 and members > 0, "a layer of it is missing")
    for number, (weight, offset) in enumerate(zip(weights, offsets, strict=True)):
        fits = weight.shape == (members, inputs, offset.shape[-1]) and offset.shape == (members, 1, weight.shape[-1])
        _demand(fits and weight.dtype == offset.dtype == np.float16, "its layers do not fit together")
        inputs = weight.shape[-1] * (2 if number == 1 else 1)  # a mean and a maximum
    _demand(inputs == len(sets.classes_), "it does not give a number for each class")


# -- XGBoost -----------------------------------------------------------------------------------------------------------
def boosted(content: bytes) -> None:
    """Whether XGBoost's JSON is of trees that fit together: the library reads what it says without looking."""
    try:
        learner = json.loads(content)["learner"]
        shape, booster = learner["learner_model_param"], learner["gradient_booster"]
        classes, features = int(shape["num_class"]), int(shape["num_feature"])
        _demand(booster["name"] == "gbtree", f"it is boosted by {booster['name']!r}, and not by trees")
        named = "multi:softprob" if classes else "binary:logistic"
        _demand(
            learner["objective"]["name"] == named, f"its objective is {learner['objective']['name']!r}, not {named!r}"
        )
        _demand(
            classes == 0 or 2 < classes == int(learner["objective"]["softmax_multiclass_param"]["num_class"]),
            "it does not say how many classes it has",
        )
        _demand(int(shape["num_target"]) == 1 and features > 0, "it names more than one thing at once, or from nothing")
        base = np.atleast_1d(np.array(json.loads(shape["base_score"]), dtype=float))
        _demand(base.shape in ((1,), (max(classes, 1),)) and np.isfinite(base).all(), "its base score is no number")
        model = booster["model"]
        trees, about, ends = model["trees"], _whole(model["tree_info"]), _whole(model["iteration_indptr"])
        _demand(
            len(trees) == len(about) == int(model["gbtree_model_param"]["num_trees"]),
            "it has not as many trees as it says",
        )
        _demand(((about >= 0) & (about < max(classes, 1))).all(), "a tree of it stands for a class that there is not")
        _demand(
            len(ends) > 0 and ends[0] == 0 and ends[-1] == len(trees) and (np.diff(ends) >= 0).all(),
            "its rounds do not follow each other",
        )
        cats = model.get("cats", {})
        _demand(not any(len(one) for one in cats.values()), "it has categories")
        for tree in trees:
            _boosted_tree(tree, features)
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is not a model of XGBoost's: {error!r}") from error


def _boosted_tree(tree: Mapping[str, Any], features: int) -> None:
    about = tree["tree_param"]
    count = int(about["num_nodes"])
    names = ("left_children", "right_children", "parents", "split_indices", "split_type", "default_left")
    whole = {name: _whole(tree[name]) for name in names}
    numbers = [
        np.array(tree[name], dtype=float)
        for name in ("split_conditions", "base_weights", "sum_hessian", "loss_changes")
    ]
    _demand(
        count > 0 and all(one.shape == (count,) for one in (*whole.values(), *numbers)),
        "a tree has not as many nodes as it says",
    )
    _demand(all(np.isfinite(one).all() for one in numbers), "a leaf or a threshold of a tree is no number")
    left, right, parents = (whole[name] for name in names[:3])
    _children(left, right)
    inner = np.flatnonzero(left != -1)
    _demand(
        parents[0] == ROOT and (parents[left[inner]] == inner).all() and (parents[right[inner]] == inner).all(),
        "the nodes of a tree do not form a tree",
    )
    asked = whole["split_indices"]
    _demand(((asked >= 0) & (asked < features)).all(), "a tree asks for a column that there is not")
    _demand(
        not whole["split_type"].any() and not any(len(tree[name]) for name in tree if name.startswith("categories")),
        "it has categories",
    )
    _demand(np.isin(whole["default_left"], (0, 1)).all(), "a tree goes neither left nor right")
    _demand(
        about["size_leaf_vector"] in ("0", "1") and int(about["num_feature"]) == features, "a tree is of another model"
    )


def _whole(numbers: Sequence[Any]) -> NDArray[np.int64]:
    found = np.array(numbers, dtype=object)
    _demand(
        found.ndim == 1 and all(type(one) is int for one in found), "it has something else where whole numbers belong"
    )
    return found.astype(np.int64)
