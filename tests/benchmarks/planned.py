"""What a plan said, against what the networks of datasets took: `python tests/benchmarks/planned.py DATASET…`

Of complete cohorts; `seconds` of a network are of the clock, so they mean something only of a machine that did nothing else.
"""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from generator.dataset.storage import Dataset
from generator.spec import planning
from generator.spec.spec import recorded


def main(*datasets: str) -> None:
    """Print a line per dataset."""
    for place in datasets:
        dataset = Dataset(place)
        spec = recorded(dataset)
        networks = {network.network_id: network for network in spec.networks}
        table = pa.concat_tables(dataset.records(["network_id", "status", "seconds"]))
        done = table.filter(pc.equal(table["status"].cast("string"), "complete"))
        took = dict(zip(done["network_id"].cast("string").to_pylist(), done["seconds"].to_pylist(), strict=True))
        pairs = [
            (
                sum(took[one] for one in cohort.network_ids),
                planning.cost([networks[i] for i in cohort.network_ids], spec, cohort.compiled),
            )
            for cohort in dataset.cohorts()
            if all(one in took for one in cohort.network_ids)
        ]
        measured, said = np.array(pairs).T
        low, middle, high = np.quantile(measured / said, [0.05, 0.5, 0.95])
        print(
            f"{place}: {len(pairs)} cohorts took {measured.sum():,.0f} s, the plan said {said.sum():,.0f} s; ", end=""
        )
        print(f"ratio {middle:.2f}, of nine in ten {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
