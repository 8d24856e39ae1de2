"""The catalogue of statistics: the 45 names, what each one means, and how a name is read back into its parts.

Pure names, no numerics: observables.py computes them, dataset.py writes the catalogue into every file, and whoever reads
a file learns from there which columns are statistics. A new statistic is an entry here and a line there.
"""

from __future__ import annotations

from typing import NamedTuple

FUNCTIONS = {"raw": "x", "sq": "x²", "abs": "|x|"}
STATISTICS = {
    "norm": "Euclidean norm",
    "mean": "mean",
    "median": "median",
    "thirdquartile": "75 % quantile (linear interpolation)",
    "var": "population variance",
    "skew": "3 (mean − median) / standard deviation",
    "kurtosis": "mean fourth central moment / variance²",
}
OBSERVABLES = {
    "weight": "over all elements of the layer's weight tensor (no bias)",
    "activation": "over the units of the layer's output for one stimulus, averaged over the probe stimuli",
    "change": "of (1/n_out) Σ_i Σ_j ∂y_i/∂x_j (forward weights), averaged over the probe stimuli",
}


class Statistic(NamedTuple):
    """One statistic's parts. For the observable `change`, which is a scalar per stimulus, `statistic` is "mean"."""

    observable: str
    function: str
    statistic: str

    @property
    def name(self) -> str:
        """The column name, e.g. `activation_abs_median`; `change_raw` for a change statistic."""
        parts = [self.observable, self.function]
        return "_".join(parts if self.observable == "change" else [*parts, self.statistic])

    @property
    def meaning(self) -> str:
        """One line for the column dictionary."""
        return f"{STATISTICS[self.statistic]} of {FUNCTIONS[self.function]}, {OBSERVABLES[self.observable]}"


def parse(name: str) -> Statistic:
    """Read a column name back into its parts; the inverse of `Statistic.name`. Raises ValueError if it is not one."""
    observable, _, rest = name.partition("_")
    function, _, statistic = rest.partition("_")
    parsed = Statistic(observable, function, statistic or "mean")
    if parsed not in _KNOWN or parsed.name != name:
        raise ValueError(f"{name!r} is not a statistic of the catalogue")
    return parsed


TENSOR_STATISTICS = [(function, statistic) for function in FUNCTIONS for statistic in STATISTICS]
CATALOGUE = [Statistic(o, f, s) for o in ("weight", "activation") for f, s in TENSOR_STATISTICS]
CATALOGUE += [Statistic("change", function, "mean") for function in FUNCTIONS]
_KNOWN = frozenset(CATALOGUE)
NAMES = [statistic.name for statistic in CATALOGUE]
