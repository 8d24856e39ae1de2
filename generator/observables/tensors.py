"""The statistics of a tensor: {x, x², |x|} × {norm, mean, …, kurtosis} (Nayebi et al. 2020; definitions in docs/dictionary.md).

Two stages. `reduced` is where the time goes: it reads every element, and leaves a few numbers per row. One sort
serves all quantiles, those of |x| and x² included; moments come from sums of powers about the median. `assembled` turns
those numbers into statistics, once for the rows of all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from generator.dataset.schema import Statistic
from generator.kernels import in_code, in_pieces
from generator.observables.contract import alike

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
TENSOR_STATISTICS = [(function, statistic) for function in FUNCTIONS for statistic in STATISTICS]

SECONDS_PER_ELEMENT = 28e-9  # all statistics of one element (spec/planning.py)
BLOCK = 1 << 21  # elements sorted at once on a CPU: bounds the copy
CHUNK = 1 << 17  # elements whose powers are summed at once on a CPU: few enough for its cache
SHORT = 512  # up to this many elements sorting magnitudes once more is cheaper than finding their order in sorted x
QUANTILES = (0.5, 0.75)


def of_tensors(observable: str, over: str) -> tuple[Statistic, ...]:
    """All statistics of an observable's tensors, in the order of `assembled`. `over` says of what elements."""
    return tuple(
        Statistic(f"{observable}_{f}_{s}", observable, f, s, f"{STATISTICS[s]} of {FUNCTIONS[f]}, {over}")
        for f, s in TENSOR_STATISTICS
    )


def tensor_statistics(x: Float[Tensor, "rows n"]) -> Float[Tensor, "rows statistics"]:
    """All statistics {raw, sq, abs} × {norm, …, kurtosis} of every row, in float64. Undefined ones are NaN."""
    return assembled(reduced(x)).T


class Rows(NamedTuple):
    """What one reading of the elements leaves of each row, in float64. Rows come last, so that each number is a vector.

    Elements are counted in units of `unit`, a power of two that keeps their eighth powers in range.
    """

    n: Float[Tensor, " rows"]
    unit: Float[Tensor, " rows"]
    order: Float[Tensor, "2 2 quantiles rows"]  # of x and |x|: the order statistics below and above each quantile
    centre: Float[Tensor, "2 rows"]  # the medians of x and |x|, as subtracted
    sums: Float[Tensor, "4 3 rows"]  # Σ d, Σ d², Σ d³, Σ d⁴ of d = x − c, x² − c² and |x| − c


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts."""
    if len(parts) == 1:
        return parts[0]
    return Rows(*(torch.cat(tensors, dim=-1) for tensors in zip(*parts, strict=True)))


def reduced(x: Float[Tensor, "rows n"]) -> Rows:
    """What one reading of every row leaves."""
    n = max(1, x.shape[1])
    return joined([_reduce(block) for block in x.split(max(1, BLOCK // n) if in_pieces(x) else len(x))])


def reduced_each(tables: Sequence[Float[Tensor, "_ _"]]) -> list[Rows]:
    """The same of several tables. Those with rows of one length are read as one: of short rows a call costs more than they do."""
    found: dict[int, Rows] = {}
    for places in alike([table.shape[1] for table in tables]):
        some = [tables[place] for place in places]
        rows = reduced(torch.cat(some) if len(some) > 1 else some[0])
        parts = zip(*(tensor.split([len(table) for table in some], dim=-1) for tensor in rows), strict=True)
        found |= {place: Rows(*part) for place, part in zip(places, parts, strict=True)}
    return [found[place] for place in range(len(tables))]


def _reduce(x: Float[Tensor, "rows n"]) -> Rows:
    rows, n = x.shape
    if n == 0:
        shapes = ((rows,), (rows,), (2, 2, len(QUANTILES), rows), (2, rows), (4, len(FUNCTIONS), rows))
        return Rows(*(torch.full(shape, torch.nan, dtype=torch.float64, device=x.device) for shape in shapes))
    ordered = _sort(x)
    if in_code() and x.dtype == torch.float32:
        return _in_code(x, ordered)
    lowest, highest = ordered[:, 0], ordered[:, -1]
    unit = _unit(torch.maximum(-lowest, highest), highest)
    if unit is not None:
        x, ordered = (t * (1 / unit)[:, None].to(x.dtype) for t in (x, ordered))
    positive = bool((lowest >= 0).all())
    low, share = _positions(torch.tensor(n, dtype=torch.float64))
    ranks = torch.cat([low, (low + 1).clamp(max=n - 1)]).long().to(x.device)
    of_x = ordered.index_select(1, ranks)
    of_size = of_x if positive else _magnitudes(x, ordered, ranks)
    order = torch.stack([of_x.T, of_size.T]).double().unflatten(1, (2, len(QUANTILES)))
    centre = _between(order, share[:, None].to(x.device))[:, 0].to(x.dtype)
    middle, typical = centre[..., None]
    sums = _sums(x, middle, typical, positive)
    count = torch.full_like(sums[0, 0], n)
    return Rows(count, torch.ones_like(count) if unit is None else unit, order, centre.double(), sums)


def _in_code(x: Float[Tensor, "rows n"], ordered: Float[Tensor, "rows n"]) -> Rows:
    """The same in compiled code. Sums are taken in another order, so they agree to rounding."""
    from generator.observables import kernel

    rows, n = x.shape
    low, share = (each.numpy() for each in _positions(torch.tensor(n, dtype=torch.float64)))
    ranks = np.stack([low, np.minimum(low + 1, n - 1)]).astype(np.int64)
    shapes = ((rows,), (2, 2, len(QUANTILES), rows), (2, rows), (4, len(FUNCTIONS), rows))
    unit, order, centre, sums = (np.empty(shape) for shape in shapes)
    kernel.reduce(x.contiguous().numpy(), ordered.numpy(), ranks, share, unit, order, centre, sums)
    return Rows(*(torch.from_numpy(each) for each in (np.full(rows, float(n)), unit, order, centre, sums)))


def _sums(x: Float[Tensor, "rows n"], middle: Tensor, typical: Tensor, positive: bool) -> Float[Tensor, "4 3 rows"]:
    """Power sums about the medians of x and |x|, (rows, 1): deviations that neither cancel nor lose digits far from 0."""
    if in_pieces(x) and x.numel() > CHUNK:  # in pieces: parts of one row add up, rows stand side by side
        if len(x) == 1:
            return torch.stack([_sums(part, middle, typical, positive) for part in x.split(CHUNK, dim=1)]).sum(0)
        bands = (each.split(max(1, CHUNK // x.shape[1])) for each in (x, middle, typical))
        return torch.cat([_sums(r, m, t, positive) for r, m, t in zip(*bands, strict=True)], dim=-1)
    deviation = (x if positive else x.abs()) - typical
    absolute = _powers(deviation)
    square = _powers((deviation + 2 * typical).mul_(deviation))  # x² − c² = (|x| − c)(|x| + c)
    raw = absolute if positive else _powers(x - middle)
    return torch.stack([torch.stack(power) for power in zip(raw, square, absolute, strict=True)]).double()


def _powers(d: Float[Tensor, "rows n"]) -> tuple[Tensor, ...]:
    """Σ d, Σ d², Σ d³, Σ d⁴ of every row."""
    square = d * d
    return d.sum(1), square.sum(1), _dot(d, square), _dot(square, square)


def _dot(a: Float[Tensor, "rows n"], b: Float[Tensor, "rows n"]) -> Float[Tensor, " rows"]:
    if in_pieces(a):  # no temporary
        with np.errstate(invalid="ignore", over="ignore"):  # a network that has diverged
            return torch.from_numpy(np.vecdot(a.numpy(), b.numpy()))
    return (a * b).sum(1)


def _unit(largest: Float[Tensor, " rows"], last: Float[Tensor, " rows"]) -> Float[Tensor, " rows"] | None:
    """Powers of two to count in, or None where float32 holds all eighth powers as they are.

    A row with NaN, which sorts last, has the unit NaN: nothing of it is defined.
    """
    smallest, greatest = torch.aminmax(largest)
    if bool((smallest >= 2**-6) & (greatest <= 2**10)):
        return None
    exponent = torch.frexp(torch.where(largest.isfinite(), largest, 1.0)).exponent.clamp(min=-126)  # 1 / unit is finite
    unit = torch.ldexp(torch.ones_like(largest, dtype=torch.float64), exponent)  # 1 if all is 0: frexp(0) = (0, 0)
    return torch.where(last.isnan(), torch.nan, unit)


def _sort(x: Float[Tensor, "rows n"]) -> Float[Tensor, "rows n"]:
    """Rows in ascending order. On a CPU numpy's sort is several times faster than torch's."""
    if in_pieces(x):
        return torch.from_numpy(np.sort(x.numpy(), axis=1))
    return torch.sort(x, dim=1).values


def _positions(n: Float[Tensor, "*rows"]) -> tuple[Tensor, Tensor]:
    """Position below each quantile among n sorted values, and the share of the way to the next (numpy's default).

    Quantiles come first.
    """
    position = torch.stack([(n - 1) * quantile for quantile in QUANTILES])
    below = position.floor()
    return below, position - below


def _between(order: Float[Tensor, "*some 2 quantiles rows"], share: Tensor) -> Float[Tensor, "*some quantiles rows"]:
    below, above = order.unbind(-3)
    return below + share * (above - below)


def _magnitudes(x: Float[Tensor, "rows n"], ordered: Float[Tensor, "rows n"], ranks: Tensor) -> Float[Tensor, "rows r"]:
    """Order statistics of |x| at `ranks`, from 0.

    The r + 1 smallest magnitudes are a window [i, i + r] of sorted x, so the r-th is min_i max(−x_i, x_{i+r}): −x_i falls
    and x_{i+r} rises with i, and bisection finds where they cross.
    """
    rows, n = x.shape
    if n <= SHORT:
        return _sort(x.abs()).index_select(1, ranks)
    rank = ranks.expand(rows, -1)
    last = n - 1 - rank
    low, high = torch.zeros_like(rank), last.clone()
    for _ in range(n.bit_length()):
        middle = (low + high) // 2
        crossed = ordered.gather(1, middle + rank) >= -ordered.gather(1, middle)
        low, high = torch.where(crossed, low, torch.minimum(middle + 1, last)), torch.where(crossed, middle, high)
    before = (high - 1).clamp(min=0)
    candidates = [torch.maximum(-ordered.gather(1, i), ordered.gather(1, i + rank)) for i in (before, high)]
    return torch.minimum(*candidates)


def assembled(rows: Rows) -> Float[Tensor, "statistics rows"]:
    """The statistics {raw, sq, abs} × {norm, …, kurtosis}, in the order of `TENSOR_STATISTICS`."""
    x, size = rows.order
    order = torch.stack([x, size.square(), size])
    centre = torch.stack([rows.centre[0], rows.centre[1].square(), rows.centre[1]])
    unit = torch.stack([rows.unit, rows.unit.square(), rows.unit])

    median, third = _between(order, _positions(rows.n)[1]).unbind(1)
    m1, m2, m3, m4 = rows.sums / rows.n  # about the centre
    shift = m1.square()
    mean, var = centre + m1, m2 - shift  # |mean − median| ≤ σ, so the shift is at most half of m2: no digits are lost
    fourth = m4 - 4 * m1 * m3 + 6 * shift * m2 - 3 * shift.square()
    spread = torch.where(var > 0, var, torch.nan)  # of a constant, variance 0, the shape is undefined
    second = mean[1]  # ⟨x²⟩
    norm = (rows.n * torch.stack([second, var[1] + second.square(), second])).sqrt()
    by_name = {
        "norm": norm * unit,
        "mean": mean * unit,
        "median": median * unit,
        "thirdquartile": third * unit,
        "var": var * unit.square(),
        "skew": 3 * (mean - median) / spread.sqrt(),
        "kurtosis": fourth / spread.square(),
    }
    return torch.stack([by_name[name] for name in STATISTICS], dim=1).flatten(0, 1)
