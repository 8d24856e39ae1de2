"""One reading of every row of a tensor, compiled: what `tensors.Rows` holds.

The same arithmetic as there, row by row in place of operation by operation. Sums run over a row's elements in order, in float32
over 16 of them and then in float64, in lanes: short rows side by side, parts of a long one. So a row gives the same numbers
alone and among others.
"""

from __future__ import annotations

import numpy as np

from generator.kernels import compiled

LANES = 64  # rows side by side
LONG = 1024  # elements from which on a row has lanes of its own
RUN = 16  # elements that are summed in float32
LEAST, MOST = np.float32(2**-6), np.float32(2**10)  # of a row's largest magnitude, where it needs no unit
f32 = np.float32


@compiled
def _magnitude(ordered, rank):  # type: ignore[no-untyped-def]
    """The magnitude of this rank, from 0, of a sorted row: see `tensors._magnitudes`."""
    last = ordered.size - 1 - rank
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        if ordered[middle + rank] >= -ordered[middle]:
            high = middle
        else:
            low = middle + 1
    before = max(low - 1, 0)
    return min(
        max(-ordered[before], ordered[before + rank]),
        max(-ordered[low], ordered[low + rank]),
    )


@compiled
def _unit(lowest, highest):  # type: ignore[no-untyped-def]
    """A power of two to count in; NaN of a row with NaN, which sorts last."""
    if highest != highest:
        return np.nan
    largest = max(-lowest, highest)
    if LEAST <= largest <= MOST or largest == 0:
        return 1.0
    if largest == np.inf:
        return 2.0  # as of 1
    return 2.0 ** max(np.floor(np.log2(np.float64(largest))) + 1, -126)


@compiled
def _count(sums, lane, d):  # type: ignore[no-untyped-def]
    """Add d, d², d³ and d⁴ to a lane's sums."""
    square = d * d
    sums[lane] += d
    sums[LANES + lane] += square
    sums[2 * LANES + lane] += d * square
    sums[3 * LANES + lane] += square * square


@compiled
def _add_raw(block, sums, centre, count, lanes):  # type: ignore[no-untyped-def]
    """Of d = x − c, of `count` elements of each lane."""
    for i in range(count):
        for lane in range(lanes):
            _count(sums, lane, block[i * LANES + lane] - centre[lane])


@compiled
def _add_absolute(block, sums, centre, count, lanes):  # type: ignore[no-untyped-def]
    """The same of d = |x| − c."""
    for i in range(count):
        for lane in range(lanes):
            _count(sums, lane, abs(block[i * LANES + lane]) - centre[lane])


@compiled
def _add_squares(block, sums, centre, count, lanes):  # type: ignore[no-untyped-def]
    """The same of d = x² − c² = (|x| − c)(|x| + c)."""
    for i in range(count):
        for lane in range(lanes):
            near = abs(block[i * LANES + lane]) - centre[lane]
            _count(sums, lane, (near + f32(2) * centre[lane]) * near)


@compiled
def _flush(total, sums):  # type: ignore[no-untyped-def]
    for i in range(sums.size):
        total[i] += sums[i]
        sums[i] = f32(0)


@compiled
def _turn(block, x, first, start, count, lanes, scale):  # type: ignore[no-untyped-def]
    """Elements from `start` of some rows, side by side, in their units."""
    for lane in range(lanes):
        for i in range(count):
            block[i * LANES + lane] = x[first + lane, start + i] * scale[lane]


@compiled
def _add(block, sums, middle, typical, count, lanes, positive):  # type: ignore[no-untyped-def]
    """All that is summed, of `count` elements of each lane; of lanes without a negative number, |x| is x."""
    _add_raw(block, sums[0], middle, count, lanes)
    _add_squares(block, sums[1], typical, count, lanes)
    if not positive:
        _add_absolute(block, sums[2], typical, count, lanes)


@compiled
def _quantiles(ordered, ranks, shares, scale, order, centres, row):  # type: ignore[no-untyped-def]
    """Order statistics of a row, and its medians."""
    positive = ordered[0] >= 0
    for i in range(2):
        for q in range(shares.size):
            rank = ranks[i, q]
            order[0, i, q, row] = ordered[rank] * scale
            order[1, i, q, row] = (ordered[rank] if positive else _magnitude(ordered, rank)) * scale
    for part in range(2):
        below, above = order[part, 0, 0, row], order[part, 1, 0, row]
        centres[part, row] = f32(below + shares[0] * (above - below))


@compiled
def _side_by_side(x, lowest, scale, centres, sums):  # type: ignore[no-untyped-def]
    """Sums of short rows: each is a lane."""
    rows, n = x.shape
    block, sized = np.empty(RUN * LANES, np.float32), np.empty(LANES, np.float32)
    middle, typical = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    some, total = np.zeros((3, 4 * LANES), np.float32), np.empty((3, 4 * LANES))
    for first in range(0, rows, LANES):
        lanes, positive = min(LANES, rows - first), True
        for lane in range(lanes):
            row = first + lane
            positive = positive and lowest[row] >= 0
            sized[lane], middle[lane], typical[lane] = scale[row], centres[0, row], centres[1, row]
        total[:] = 0.0
        for start in range(0, n, RUN):
            count = min(RUN, n - start)
            _turn(block, x, first, start, count, lanes, sized)
            _add(block, some, middle, typical, count, lanes, positive)
            _flush(total.ravel(), some.ravel())
        for power in range(4):
            for lane in range(lanes):
                for function in range(3):
                    of = 0 if positive and function == 2 else function
                    sums[power, function, first + lane] = total[of, power * LANES + lane]


@compiled
def _one_by_one(x, lowest, scale, centres, sums):  # type: ignore[no-untyped-def]
    """Sums of long rows: every 64th element of one is a lane."""
    rows, n = x.shape
    block, run = np.empty(RUN * LANES, np.float32), RUN * LANES
    middle, typical = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    some, total = np.zeros((3, 4 * LANES), np.float32), np.empty((3, 4 * LANES))
    for row in range(rows):
        positive = lowest[row] >= 0
        middle[:], typical[:], total[:] = f32(centres[0, row]), f32(centres[1, row]), 0.0
        for start in range(0, n, run):
            count = min(run, n - start)
            piece = x[row, start : start + count]
            if scale[row] != 1:
                block[:count] = piece * scale[row]
                piece = block[:count]
            whole = count // LANES
            _add(piece, some, middle, typical, whole, LANES, positive)
            if whole * LANES < count:
                _add(piece[whole * LANES :], some, middle, typical, 1, count - whole * LANES, positive)
            _flush(total.ravel(), some.ravel())
        for power in range(4):
            for function in range(3):
                of, found = 0 if positive and function == 2 else function, 0.0
                for lane in range(LANES):
                    found += total[of, power * LANES + lane]
                sums[power, function, row] = found


@compiled
def reduce(x, ordered, ranks, shares, units, order, centres, sums):  # type: ignore[no-untyped-def]
    """Fill the last four.

    Args:
        x, ordered: (rows, n) float32, as they are and sorted.
        ranks: (2, quantiles) of the order statistics below and above each quantile.
        shares: (quantiles,) of the way from one to the other.
        units: (rows,).
        order: (2, 2, quantiles, rows) of x and |x|.
        centres: (2, rows) medians of x and |x|.
        sums: (4, 3, rows) of powers of the deviations of x, x² and |x|.
    """
    rows, n = x.shape
    lowest, scale = ordered[:, 0].copy(), np.empty(rows, np.float32)
    for row in range(rows):
        units[row] = _unit(lowest[row], ordered[row, n - 1])
        scale[row] = f32(1 / units[row])
        _quantiles(ordered[row], ranks, shares, scale[row], order, centres, row)
    if n < LONG:
        _side_by_side(x, lowest, scale, centres, sums)
    else:
        _one_by_one(x, lowest, scale, centres, sums)
