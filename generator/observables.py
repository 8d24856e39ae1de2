"""The 45 statistics of a layer at a checkpoint (Nayebi et al. 2020; definitions in datasets/README.md).

One sort per tensor serves all quantiles: those of |x| and x² are read off the sorted x. Moments are central, taken about the
median and of numbers scaled by a power of two, so that float32 neither cancels nor under- or overflows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from generator.catalogue import FUNCTIONS, NAMES, STATISTICS, TENSOR_STATISTICS
from generator.layers import WeightLayer

CHUNK = 1 << 17  # elements worked on at once on a CPU: with their copies they stay in the second-level cache


def measure(layer: WeightLayer, x: Tensor, y: Tensor) -> Float[Tensor, "k 45"]:
    """All statistics of a layer that read x (k, b, …) and wrote y (k, b, …), in the catalogue's order, in float64."""
    weight = tensor_statistics(layer.weight.flatten(1))
    units = (y if y.ndim == 3 else y.movedim(2, -1)).flatten(2)  # in memory order: no copy, and order does not matter
    activation = tensor_statistics(units.flatten(0, 1)).unflatten(0, units.shape[:2]).mean(1)
    return torch.cat([weight, activation, change_statistics(layer, x, y)], dim=1) + 0.0  # no −0, which sorts anywhere


def change_statistics(layer: WeightLayer, x: Tensor, y: Tensor) -> Float[Tensor, "k 3"]:
    """Raw, squared and absolute value of (1/n_out) Σ_i Σ_j ∂y_i/∂x_j per stimulus, averaged over stimuli.

    With W applied to an all-ones input, r, this is mean_i φ′(a_i) r_i: no backward pass, and always the forward weights.
    """
    rows = layer.ones_response(x)
    slope = layer.phi_prime(y[:, :1] if layer.nonlinearity == "linear" else y)  # the same for all stimuli if linear
    change = (slope * rows).flatten(2).mean(-1, dtype=torch.float64)
    return torch.stack([change.mean(1), change.square().mean(1), change.abs().mean(1)], dim=1)


def tensor_statistics(x: Float[Tensor, "rows n"]) -> Float[Tensor, "rows 21"]:
    """The 21 statistics {raw, sq, abs} × {norm, …, kurtosis} of every row, in float64. Undefined ones are NaN."""
    if x.shape[1] == 0:
        return x.new_full((len(x), len(TENSOR_STATISTICS)), torch.nan, dtype=torch.float64)
    return torch.cat([_statistics(chunk) for chunk in _chunks(x)])


def _chunks(x: Tensor) -> Iterator[Tensor]:
    return iter(x.split(max(1, CHUNK // x.shape[1])) if x.device.type == "cpu" else [x])


def _statistics(x: Float[Tensor, "rows n"]) -> Float[Tensor, "rows 21"]:
    ordered = _sort(x)
    largest = torch.maximum(-ordered[:, 0], ordered[:, -1])
    exponent = torch.frexp(torch.where(largest.isfinite(), largest, 1.0)).exponent
    unit = torch.ldexp(torch.ones_like(largest, dtype=torch.float64), exponent)  # 1 if all is 0: frexp(0) = (0, 0)
    unit = torch.where(ordered[:, -1].isnan(), torch.nan, unit)  # NaN sorts last; nothing of such a row is defined
    if bool(((unit < 2**-6) | (unit > 2**10) | unit.isnan()).any()):
        x, ordered = (t * (1 / unit)[:, None].to(x.dtype) for t in (x, ordered))
    else:  # fourth powers of float32 deviations stay in range as they are, and the statistics are the same to the bit
        unit = torch.ones_like(unit)

    n = ordered.shape[1]
    low, high, share = _quartiles(n)
    raw_quantiles = _between(ordered[:, low].double(), ordered[:, high].double(), share)
    smallest, below, above = _absolute_order(ordered, torch.stack([torch.zeros_like(low), low, high]))
    absolute_quantiles, square_quantiles = _between(below, above, share), _between(below**2, above**2, share)

    # Moments of deviations from the median: numbers that neither cancel nor lose digits however far from 0 they lie.
    positive = bool((ordered[:, 0] >= 0).all())
    flat = smallest[:, 0] == torch.maximum(-ordered[:, 0], ordered[:, -1])
    centre = absolute_quantiles[:, :1].to(x.dtype)
    deviation = (x if positive else x.abs()) - centre
    about_square = (deviation + 2 * centre).mul_(deviation)  # x² − c² = (|x| − c)(|x| + c)
    sq = _moments(about_square, centre.double() ** 2, flat)
    absolute = _moments(deviation, centre, flat)
    centre = raw_quantiles[:, :1].to(x.dtype)
    raw = absolute if positive else _moments(x - centre, centre, ordered[:, 0] == ordered[:, -1])

    norm, square_norm = (n * sq[:, 0]).sqrt(), (n * (sq[:, 1] + sq[:, 0] ** 2)).sqrt()
    parts = {
        "raw": _assemble(norm, raw, raw_quantiles, unit),
        "sq": _assemble(square_norm, sq, square_quantiles, unit**2),
        "abs": _assemble(norm, absolute, absolute_quantiles, unit),
    }
    return torch.cat([parts[function] for function in FUNCTIONS], dim=1)


def _assemble(norm: Tensor, moments: Tensor, quantiles: Tensor, unit: Tensor) -> Float[Tensor, "rows 7"]:
    """The seven statistics of one function, scaled back from units of `unit`, in the catalogue's order."""
    (mean, var, kurtosis), (median, third) = moments.unbind(1), quantiles.unbind(1)
    by_name = {
        "norm": norm * unit,
        "mean": mean * unit,
        "median": median * unit,
        "thirdquartile": third * unit,
        "var": var * unit**2,
        "skew": 3 * (mean - median) / torch.where(var > 0, var, torch.nan).sqrt(),
        "kurtosis": kurtosis,
    }
    return torch.stack([by_name[name] for name in STATISTICS], dim=1)


def _moments(deviation: Float[Tensor, "rows n"], centre: Tensor, constant: Tensor) -> Float[Tensor, "rows 3"]:
    """Mean, population variance and kurtosis of every row of centre (rows, 1) + deviation, which is used up.

    A constant row has variance 0 and no kurtosis.
    """
    mean = deviation.mean(1, keepdim=True)
    squares = deviation.sub_(mean).square_()
    var = torch.where(constant, 0.0, squares.mean(1).double())
    fourth = torch.linalg.vector_norm(squares, dim=1).double() ** 2 / deviation.shape[1]
    kurtosis = fourth / torch.where(constant, torch.nan, var) ** 2
    return torch.stack([(centre.double() + mean)[:, 0], var, kurtosis], dim=1)


def _sort(x: Float[Tensor, "rows n"]) -> Float[Tensor, "rows n"]:
    """Rows in ascending order. On a CPU numpy's sort is several times faster than torch's."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.sort(x.numpy(), axis=1))
    return torch.sort(x, dim=1).values


def _quartiles(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Positions below and above the median and the 75 % quantile of n sorted values, and the share of the way between."""
    position = (n - 1) * torch.tensor([0.5, 0.75], dtype=torch.float64)
    low = position.floor().long()
    return low, (low + 1).clamp(max=n - 1), position - low


def _between(below: Tensor, above: Tensor, share: Tensor) -> Float[Tensor, "rows 2"]:
    """Linear interpolation between order statistics, as numpy's default quantile."""
    return below + share.to(below.device) * (above - below)


def _absolute_order(ordered: Float[Tensor, "rows n"], ranks: Tensor) -> Float[Tensor, "a rows b"]:
    """Order statistics of |x| at `ranks` (a, b), from 0, given sorted x.

    The r + 1 smallest magnitudes are a window [i, i + r] of sorted x, so the r-th is min_i max(−x_i, x_{i+r}): −x_i falls
    and x_{i+r} rises with i, and bisection finds where they cross.
    """
    rows, n = ordered.shape
    rank = ranks.to(ordered.device)[:, None, :].expand(len(ranks), rows, ranks.shape[1])
    table = ordered.expand(len(ranks), rows, n)
    last = n - 1 - rank
    low, high = torch.zeros_like(rank), last.clone()
    for _ in range(int(last.max()).bit_length()):
        middle = (low + high) // 2
        crossed = table.gather(2, middle + rank) >= -table.gather(2, middle)
        low, high = torch.where(crossed, low, torch.minimum(middle + 1, last)), torch.where(crossed, middle, high)
    before = (high - 1).clamp(min=0)
    candidates = [torch.maximum(-table.gather(2, i), table.gather(2, i + rank)) for i in (before, high)]
    return torch.minimum(*candidates).double()


assert len(NAMES) == 2 * len(TENSOR_STATISTICS) + len(FUNCTIONS)
