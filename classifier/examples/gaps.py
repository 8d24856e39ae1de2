"""What a dataset has not, and scores on it do not speak of, in words."""

from __future__ import annotations

import os

import pandas as pd

from classifier.examples.trajectories import Examples
from generator.dataset.storage import Dataset


def progress(dataset: Dataset) -> str:
    """How far an unfinished dataset is, "249 of 300 networks"; empty for one that is done. Raises DatasetError if it is none."""
    complete, cohorts = dataset.complete(), dataset.cohorts()
    recorded = sum(len(cohort.network_ids) for cohort in cohorts if cohort.name in complete)
    planned = sum(len(cohort.network_ids) for cohort in cohorts)
    return f"{recorded:,} of {planned:,} networks" if recorded < planned else ""


def gaps(dataset: Dataset, target: str) -> list[str]:
    """What accuracies on a dataset do not speak of, a sentence each. Raises DatasetError if it is none.

    Networks that are not made yet, and classes of the target of which no network is complete.
    """
    found = pd.concat([table.to_pandas() for table in dataset.records([target, "status"])])
    complete = (found["status"] == "complete").groupby(found[target].astype(str)).agg(["any", "size"])
    unfinished = progress(dataset)
    return [
        *([f"The dataset is not finished: {unfinished}."] if unfinished else []),
        *(f"{name}: none of {count:,} complete." for name, count in complete["size"][~complete["any"]].items()),
    ]


def asked_of(data: str | os.PathLike[str] | Examples, target: str) -> list[str]:
    """The same of what a study was asked of; examples do not say what their dataset lacks."""
    return [] if isinstance(data, Examples) else gaps(Dataset(data), target)
