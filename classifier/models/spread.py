"""Examples that exceed one machine's memory: they lie on a cluster's workers, block by block, and XGBoost learns where they are.

What cross-validation needs to know of an example (whose it is, and of which class) is here; its values never come.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples import sampling as samplings
from classifier.examples.features import whole_networks
from classifier.examples.splits import Rows, labels
from classifier.examples.trajectories import Examples, load, survey
from classifier.models.estimators import Recipe, Setting, log_scores
from classifier.models.parallel import alone
from classifier.models.parallel import client as current
from classifier.models.problem import CURVE, Problem, described, feature_table, numbered
from generator.dataset.storage import Dataset
from generator.errors import RequestError

TABLES = (
    7  # times the examples' own size that a problem takes: themselves, the usual feature tables, and a training part
)
BLOCKS = 4  # per worker, so that none has much more than another
BLOCK = 128 << 20  # bytes at most, as far as cohorts allow: more workers may come
TRIES = 5  # of a training, whose workers may die
GRACE_SECONDS = 60.0  # that a training may go on without a worker that it began with: most notice by themselves
LOOK_SECONDS = 2.0  # between two looks at the workers
TRACKER_SECONDS = 600  # in which the workers of a training have to find each other


def memory() -> int:
    """Bytes that this process may use: of the machine, or of its control group."""
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT)


def needed(location: str | os.PathLike[str]) -> bool:
    """Whether a dataset's examples exceed this machine's memory. Raises RequestError if they do and there is no cluster."""
    size = TABLES * survey(location).bytes
    if size <= memory():
        return False
    if current() is None:
        raise RequestError(
            f"the examples of {os.fspath(location)} and their features take about {size / 1e9:,.1f} GB, and this machine has "
            f"{memory() / 1e9:,.1f} GB: name a cluster (--cluster), over whose workers they are spread, or thin the dataset out"
        )
    return True


@dataclass(frozen=True)
class Spread(Problem):
    """A problem whose feature tables are made on workers, when they are needed.

    Attributes:
        blocks: examples in a worker's memory, in order.
        starts: (blocks + 1,) the number of each block's first example, and of all.
    """

    blocks: tuple[Any, ...] = ()
    starts: tuple[int, ...] = ()

    elsewhere: ClassVar[bool] = True

    @classmethod
    def over(cls, blocks: Sequence[Any], examples: Examples, target: str, features: Iterable[str]) -> Spread:
        """Of the examples that `place` left on workers."""
        classes, codes = numbered(labels(examples.identity, target))
        names, places = described(examples, features)
        sizes = current().gather([current().submit(len, block) for block in blocks])
        starts = tuple(np.concatenate([[0], np.cumsum(sizes)]).tolist())
        return cls(examples, target, classes, codes, {}, names, places, tuple(blocks), starts)

    def fit(self, recipe: Recipe, settings: Sequence[Setting], observable: str, train: Rows) -> list[Any]:
        """A classifier per setting, trained on the rows `train` where they are. The settings have the same features."""
        columns = self.columns(settings[0].features, observable)
        fitted = [recipe.build(setting.parameters, columns) for setting in settings]
        for one in fitted:
            one.load_model(self._boosted(one.get_params(), settings[0].features, observable, train))
        return fitted

    def _boosted(self, parameters: dict[str, Any], features: str, observable: str, train: Rows) -> bytearray:
        """XGBoost's trees. It does not outlive the death of a worker, so it is tried again."""
        from dask import array
        from xgboost.collective import Config
        from xgboost.core import XGBoostError
        from xgboost.dask import DaskXGBClassifier

        client = current()
        parts, width = self._parts(train), len(self.columns(features, observable)) + 1  # and the constant one
        order = np.concatenate([place for *_, place in parts])
        for attempt in range(1, TRIES + 1):
            tables = [self._table(block, features, observable, rows) for block, rows, _ in parts]
            values = [
                array.from_delayed(table, (len(rows), width), np.float32)
                for table, (_, rows, _) in zip(tables, parts, strict=True)
            ]
            codes = array.from_array(self.codes[train][order], chunks=(tuple(len(rows) for _, rows, _ in parts),))
            spread = DaskXGBClassifier(**parameters, coll_cfg=Config(tracker_timeout=TRACKER_SECONDS))
            spread.client = client
            try:
                client.sync(_while_there, client, tables, spread.fit, array.concatenate(values), codes)
                return spread.get_booster().save_raw()
            except (ValueError, RuntimeError, XGBoostError) as error:
                if attempt == TRIES:
                    raise RequestError(
                        f"XGBoost could not be trained on the workers, {TRIES} times: {error}"
                    ) from error
                _freed(client, tables)
        raise AssertionError

    def log_scores(self, classifier: Any, features: str, observable: str, rows: Rows) -> NDArray[np.float64]:
        """(rows, classes) what a classifier says of some rows."""
        parts = self._parts(rows)
        tables = [self._table(block, features, observable, inside) for block, inside, _ in parts]
        client = current()
        everywhere = client.submit(_itself, classifier, pure=False)  # made again should its worker die
        found = client.gather([client.submit(log_scores, everywhere, table, pure=False) for table in tables])
        scores = np.empty((len(rows), len(self.labels)))
        for part, (*_, place) in zip(found, parts, strict=True):
            scores[place] = part
        return scores

    def _parts(self, rows: Rows) -> list[tuple[Any, Rows, NDArray[np.intp]]]:
        """The blocks that have some of these rows, these rows' numbers in the block, and their places among `rows`."""
        of = np.searchsorted(self.starts, rows, side="right") - 1
        places = [np.flatnonzero(of == number) for number in range(len(self.blocks))]
        blocks = zip(self.blocks, self.starts, places, strict=False)
        return [(block, rows[place] - start, place) for block, start, place in blocks if len(place)]

    def _table(self, block: Any, features: str, observable: str, rows: Rows) -> Any:
        """On a worker: the features of some rows of a block."""
        columns = None if observable in ("all", CURVE) else self.places[features][observable]
        return current().submit(alone, _table, block, (features, observable == CURVE, columns, rows), pure=False)


def _freed(client: Any, tables: Sequence[Any]) -> None:
    """Start the workers anew that hold these tables: their threads may wait for one that died, and nothing stops them."""
    holders = {worker for workers in client.who_has(tables).values() for worker in workers}
    with suppress(
        ValueError, KeyError, OSError, RuntimeError
    ):  # a worker without a nanny, or one that is gone just now
        client.restart_workers(list(holders), raise_for_error=False)
    client.wait_for_workers(1)


async def _while_there(
    client: Any, tables: Sequence[Any], train: Callable[..., Coroutine[Any, Any, Any]], *data: Any
) -> None:
    """Wait for a training by the workers that hold these tables; for ever only if they all live.

    Raises:
        RuntimeError: one of them is gone, and the training has neither ended nor failed since.
    """
    from distributed import wait

    await wait(tables)
    holders = {worker for workers in (await client.who_has(tables)).values() for worker in workers}
    training, alone = asyncio.ensure_future(train(*data)), 0.0
    try:
        while not training.done() and alone < GRACE_SECONDS:
            await asyncio.wait([training], timeout=LOOK_SECONDS)
            alone += LOOK_SECONDS * (not holders <= set(await client.scheduler.ncores()))
        if not training.done():
            raise RuntimeError("a worker died, and the others waited for it")
        training.result()
    finally:
        training.cancel()


def _itself(classifier: Any) -> Any:
    return classifier


def _table(
    block: Examples, features: str, curves: bool, columns: NDArray[np.intp] | None, rows: Rows
) -> NDArray[np.float32]:
    if whole_networks(features):  # of which some layers may be elsewhere, in training or tested
        table = feature_table(block, features, curves)[rows]
    else:
        table = feature_table(block.rows(rows), features, curves)
    kept = table if columns is None else table[:, columns]
    # A constant column: workers cannot agree on quantiles if no feature of anybody has a value, as those of constant curves.
    return np.hstack([kept, np.zeros((len(kept), 1), np.float32)])


def place(
    location: str | os.PathLike[str], electrode: str = "full", sampling: str = samplings.ALL
) -> tuple[list[Any], Examples]:
    """Let workers load a dataset's examples, each some of its cohorts.

    Returns:
        The blocks, on their workers, and all examples but for their values: those are NaN, and take no memory.

    Raises:
        RequestError: as `sampling.measured` does, or the workers cannot read the dataset.
    """
    text = os.fspath(location)
    text = text if "://" in text else os.path.abspath(text)
    found, client = survey(text), current()
    samplings.possible(sampling, found.checkpoints)
    cohorts = found.cohorts(Dataset(text))
    count = min(len(cohorts), max(BLOCKS * len(client.nthreads()), -(-found.bytes // BLOCK)))
    shares = [list(share) for share in np.array_split(np.array(cohorts, dtype=object), count)]
    blocks = [client.submit(_load, text, electrode, share, sampling, pure=False) for share in shares]
    known = client.gather([client.submit(_hollow, block, pure=False) for block in blocks])
    identity = pd.concat([one.identity for one in known], ignore_index=True)
    first, rows = known[0], len(identity)
    values, curves = (_nothing((rows, *array.shape[1:])) for array in (first.values, first.curves))
    return blocks, Examples(values, first.statistics, curves, identity, found.left_out)


def _load(location: str, electrode: str, cohorts: Sequence[str], sampling: str) -> Examples:
    return samplings.apply(load(location, electrode, cohorts), sampling)


def _hollow(examples: Examples) -> Examples:
    """What is known of examples but for their values."""
    return replace(examples, values=examples.values[:0], curves=examples.curves[:0])


def _nothing(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.broadcast_to(np.float32(np.nan), shape)
