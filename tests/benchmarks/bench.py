"""Measures everything that tests/benchmarks/README.md reports: prints a table, writes JSON under results/.

    make bench                       all of it, about an hour on two cores; nothing else may run meanwhile
    make bench ONLY=statistics,cli   some of it
    make bench DEVICE=cuda           what a GPU is for

Every ratio comes from one run; its two sides alternate, save where each has all cores in processes of its own. A value is the
median. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import machine
from measure_evaluation import evaluation
from measure_floors import floors
from measure_peer import peer
from measure_pipeline import pipeline
from measure_reading import classifier, cli
from measure_recording import electrodes
from measure_rules import rules
from measure_sampled import sampled
from measure_scheduling import scheduling
from measure_statistics import observables
from measure_training import everywhere, training
from row import Row

HERE = Path(__file__).parent
SECTIONS: dict[str, Callable[[str], Iterator[Row]]] = {
    "floors": floors,
    "statistics": observables,
    "training": training,
    "peer": peer,
    "everywhere": everywhere,
    "electrodes": electrodes,
    "classifier": classifier,
    "cli": cli,
    "evaluation": evaluation,
    "scheduling": scheduling,
    "pipeline": pipeline,
    "sampled": sampled,
    "rules": rules,
}
ON_GPU = ("floors", "statistics", "electrodes", "pipeline")


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"some of {', '.join(SECTIONS)}, comma-separated")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, help="where the JSON goes; by default results/<hardware>.json")
    arguments = parser.parse_args()
    chosen = [name for name in arguments.only.split(",") if name] or list(
        SECTIONS if arguments.device == "cpu" else ON_GPU
    )
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"unknown section {sorted(unknown)[0]!r}; known: {', '.join(SECTIONS)}")
    hardware, versions = machine.hardware(arguments.device), dict(machine.versions())
    file = (
        arguments.out
        or HERE / "results" / f"{'-'.join(''.join(c if c.isalnum() else ' ' for c in hardware).split())}.json"
    )
    kept = json.loads(file.read_text()) if file.exists() else []
    file.parent.mkdir(parents=True, exist_ok=True)
    print(f"{hardware}\n")
    print(f"{'':<86}{'value':>12}  {'unit':<10}{'baseline':>12}{'ratio':>8}  target")
    for section in chosen:
        kept, rows = [each for each in kept if each["section"] != section], []
        for row in SECTIONS[section](arguments.device):
            other = "" if row.baseline is None else f"{row.baseline:.4g}"
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            print(f"{row.name:<86}{row.value:>12.4g}  {row.unit:<10}{other:>12}{ratio:>8}  {row.target}", flush=True)
            rows.append({"section": section, **asdict(row), "hardware": hardware, "versions": versions})
            file.write_text(json.dumps(kept + rows, indent=1, ensure_ascii=False) + "\n")
        kept += rows


if __name__ == "__main__":
    main()
