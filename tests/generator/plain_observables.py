"""Observables beside the paper's in slow float64 numpy, written from their definitions without a look at the generator."""

from __future__ import annotations

import numpy as np

NAN = float("nan")
History = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def divide(top: float, bottom: float) -> float:
    """top / bottom, nan where the denominator is 0 or not a number."""
    if bottom == 0 or np.isnan(bottom):
        return NAN
    with np.errstate(all="ignore"):
        return float(np.float64(top) / np.float64(bottom))


def plain_mean(values: list[float]) -> float:
    """Mean of a list, nan if it is empty or holds a nan."""
    if len(values) == 0:
        return NAN
    with np.errstate(all="ignore"):
        return float(np.sum(np.asarray(values, dtype=np.float64)) / len(values))


def step(now: np.ndarray, last: np.ndarray | None, before: np.ndarray | None) -> dict[str, float]:
    """Norm, kurtosis, cosine and share of flipped signs of a step, each the mean over rows."""
    if last is None:
        return {"norm": NAN, "kurtosis": NAN, "cosine": NAN, "flipped": NAN}
    now = np.asarray(now, dtype=np.float64)
    last = np.asarray(last, dtype=np.float64)
    norms: list[float] = []
    kurtoses: list[float] = []
    cosines: list[float] = []
    flips: list[float] = []
    with np.errstate(all="ignore"):
        for r in range(now.shape[0]):
            n = now.shape[1]
            d = now[r] - last[r]
            length = float(np.sqrt(np.sum(d * d))) if n else NAN
            norms.append(length)

            if n == 0 or np.all(d == d[0]):  # no variance, whatever the rounding of the mean
                kurtoses.append(NAN)
            else:
                c = d - np.sum(d) / n
                variance = np.sum(c**2) / n
                kurtoses.append(divide(np.sum(c**4) / n, variance**2))

            if before is None:
                cosines.append(NAN)
            else:
                e = last[r] - np.asarray(before[r], dtype=np.float64)
                length_e = float(np.sqrt(np.sum(e * e)))
                cosines.append(divide(np.sum(d * e), length * length_e))

            if np.any(np.isnan(now[r])) or np.any(np.isnan(last[r])):
                flips.append(NAN)
            else:
                flips.append(divide(np.sum(np.sign(now[r]) != np.sign(last[r])), n))
    return {
        "norm": plain_mean(norms),
        "kurtosis": plain_mean(kurtoses),
        "cosine": plain_mean(cosines),
        "flipped": plain_mean(flips),
    }


def varying(y: np.ndarray) -> np.ndarray:
    """Boolean per column: is it not constant over the rows (compared exactly)?"""
    return np.array([bool(np.any(y[:, u] != y[0, u])) for u in range(y.shape[1])], dtype=bool)


def centred(y: np.ndarray) -> np.ndarray:
    """y less its column means; constant columns become exactly 0."""
    out = np.zeros(y.shape, dtype=np.float64)
    moves = varying(y)
    for u in range(y.shape[1]):
        if moves[u]:
            out[:, u] = y[:, u] - np.sum(y[:, u]) / y.shape[0]
    return out


def participation(y: np.ndarray) -> float:
    """Participation ratio of the eigenvalues of the units' covariance; nan if nothing varies."""
    if not np.any(varying(y)):
        return NAN
    covariance = np.atleast_2d(np.cov(centred(y), rowvar=False))
    eigenvalues = np.linalg.eigvalsh(covariance)
    return divide(np.sum(eigenvalues) ** 2, np.sum(eigenvalues**2))


def correlation(y: np.ndarray) -> float:
    """Mean Pearson correlation over the pairs of non-constant units; nan if fewer than two."""
    kept = y[:, varying(y)]
    if kept.shape[1] < 2:
        return NAN
    r = np.corrcoef(kept, rowvar=False)
    return plain_mean(r[np.triu_indices(len(r), 1)].tolist())


def sparseness(y: np.ndarray) -> float:
    """Mean over stimuli of (mean |y|)^2 / mean y^2, stimuli with only exact 0s left out."""
    shares: list[float] = []
    for s in range(y.shape[0]):
        if np.any(y[s] != 0):
            n = y.shape[1]
            shares.append(divide((np.sum(np.abs(y[s])) / n) ** 2, np.sum(y[s] ** 2) / n))
    return plain_mean(shares)


def separability(y: np.ndarray, labels: np.ndarray) -> float:
    """Between-class share of the total sum of squares; nan if nothing varies."""
    c = centred(y)  # the overall mean is 0 now
    between = 0.0
    for label in sorted(set(labels.tolist())):
        members = c[labels == label]
        mean = np.sum(members, axis=0) / len(members)
        between += len(members) * float(np.sum(mean**2))
    return divide(between, float(np.sum(c**2)))


def similarity(y: np.ndarray, x: np.ndarray) -> float:
    """Linear CKA of y and x (same stimuli, columns centred); nan if either does not vary."""
    if y.shape[0] != x.shape[0] or not np.all(np.isfinite(x)):
        return NAN
    if not np.any(varying(y)) or not np.any(varying(x)):
        return NAN
    yc, xc = centred(y), centred(x)
    top = np.sum((yc.T @ xc) ** 2)
    bottom = np.sqrt(np.sum((xc.T @ xc) ** 2)) * np.sqrt(np.sum((yc.T @ yc) ** 2))
    return divide(float(top), float(bottom))


def population(y: np.ndarray, y_first: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The five observables of a population of units; all nan if y is empty or not finite."""
    y = np.asarray(y, dtype=np.float64)
    x = np.asarray(y_first, dtype=np.float64)
    labels = np.asarray(labels)
    names = ("participation", "correlation", "sparseness", "separability", "similarity")
    if y.size == 0 or not np.all(np.isfinite(y)):
        return dict.fromkeys(names, NAN)
    with np.errstate(all="ignore"):
        return {
            "participation": participation(y),
            "correlation": correlation(y),
            "sparseness": sparseness(y),
            "separability": separability(y, labels),
            "similarity": similarity(y, x),
        }


def balance(history: History, recorded: np.ndarray) -> dict[str, float]:
    """Net drift of each recorded unit's |w_in|^2 + b^2 - |w_out|^2 as a share of its way."""
    shares: list[float] = []
    recorded = np.asarray(recorded, dtype=bool)
    with np.errstate(all="ignore"):
        for u in range(len(recorded)):
            if not recorded[u] or len(history) == 0:
                continue
            parts: list[tuple[float, float, float]] = []
            for w_in, b, w_out in history:
                i = np.sum(np.asarray(w_in[u], dtype=np.float64) ** 2)
                o = np.sum(np.asarray(w_out[u], dtype=np.float64) ** 2)
                parts.append((i, np.float64(b[u]) ** 2, o))
            first, final = parts[0], parts[-1]
            drift = (final[0] + final[1] - final[2]) - (first[0] + first[1] - first[2])
            way = 0.0
            for s in range(1, len(parts)):
                for k in range(3):
                    way += abs(parts[s][k] - parts[s - 1][k])
            if way != 0:
                shares.append(divide(drift, way))
    sizes = [abs(share) for share in shares]
    median = NAN
    if sizes and not np.any(np.isnan(sizes)):
        median = float(np.median(sizes))
    return {"raw_mean": plain_mean(shares), "abs_mean": plain_mean(sizes), "abs_median": median}


def recorded_places(places: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Boolean mask over the places of one stimulus: (n,), or (channels, height, width)."""
    mask = np.zeros(shape, dtype=bool)
    if places is None:
        mask[...] = True
        return mask
    for place in np.asarray(places, dtype=np.int64).ravel().tolist():
        if len(shape) == 1:
            mask[place] = True
        else:
            channels, _, width = shape
            position, channel = divmod(place, channels)
            row, column = divmod(position, width)
            mask[channel, row, column] = True
    return mask


def recorded_units(places: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Boolean per unit of an (n,) array, or per channel of a (c, h, w) one: is any place in?"""
    mask = recorded_places(places, shape)
    return np.array([bool(np.any(mask[k])) for k in range(shape[0])], dtype=bool)


def balance_wiring(
    weight: np.ndarray,
    weight_next: np.ndarray,
    inputs: np.ndarray | None,
    outputs: np.ndarray | None,
    outputs_next: np.ndarray | None,
    shape_in: tuple[int, ...],
    shape_out: tuple[int, ...],
    shape_next: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Incoming and outgoing weights of a layer's units, 0 where unrecorded, and who is recorded.

    A fully connected layer reading a (c, h, w) input has channel-major columns; its inputs count
    place by place if there are c*h*w columns, else (pooled between) channel by channel.
    """
    weight = np.asarray(weight, dtype=np.float64)
    weight_next = np.asarray(weight_next, dtype=np.float64)
    units, fan = weight.shape[0], weight.shape[1]

    read = np.zeros(fan, dtype=bool)  # per column, or per input channel
    if weight.ndim == 4 or len(shape_in) == 1:
        read[:] = recorded_units(inputs, shape_in)
    else:
        places = recorded_places(inputs, shape_in)
        positions = fan // shape_in[0]
        for column in range(fan):
            channel, position = divmod(column, positions)
            if places[0].size == positions:
                row, col = divmod(position, shape_in[2])
                read[column] = places[channel, row, col]
            else:
                read[column] = np.any(places[channel])
    kept = np.zeros(weight.shape, dtype=np.float64)
    for i in range(fan):
        if read[i]:
            kept[:, i] = weight[:, i]
    w_in = kept.reshape(units, -1)

    heard = recorded_units(outputs_next, shape_next)
    kept_next = np.zeros(weight_next.shape, dtype=np.float64)
    for v in range(weight_next.shape[0]):
        if heard[v]:
            kept_next[v] = weight_next[v]
    rows: list[np.ndarray] = []
    for u in range(units):
        if weight.ndim == 4 and weight_next.ndim == 2:
            positions = weight_next.shape[1] // units
            rows.append(kept_next[:, u * positions : (u + 1) * positions].ravel())
        else:
            rows.append(kept_next[:, u].ravel())
    return w_in, np.array(rows), recorded_units(outputs, shape_out)


Pairs = list[tuple[np.ndarray, np.ndarray]]


def finite_or_nan(value: float) -> float:
    """The value, nan if it is not finite."""
    return float(value) if np.isfinite(value) else NAN


def pair_products(rows: np.ndarray) -> np.ndarray:
    """Inner products of all pairs of different rows, in a fixed order."""
    products: np.ndarray = (rows @ rows.T)[~np.eye(len(rows), dtype=bool)]
    return products


def pair_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of the pair products of the rows of a and of b; nan if either has none but 0."""
    p, q = pair_products(a), pair_products(b)
    bottom = float(np.sqrt(np.sum(p**2)) * np.sqrt(np.sum(q**2)))
    return finite_or_nan(divide(float(np.sum(p * q)), bottom))


def size_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of the log squared lengths of the rows of a and b, rows of 0s left out."""
    logs: list[tuple[float, float]] = []
    for i in range(len(a)):
        p, q = float(np.sum(a[i] ** 2)), float(np.sum(b[i] ** 2))
        if not np.isfinite(p) or not np.isfinite(q):
            return NAN
        if p > 0 and q > 0:
            logs.append((float(np.log(p)), float(np.log(q))))
    if len(logs) < 2:
        return NAN
    c = centred(np.array(logs, dtype=np.float64))
    bottom = float(np.sqrt(np.sum(c[:, 0] ** 2)) * np.sqrt(np.sum(c[:, 1] ** 2)))
    return finite_or_nan(divide(float(np.sum(c[:, 0] * c[:, 1])), bottom))


def recorded_rows(weights: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Rows of the recorded units, in float64."""
    rows = [np.asarray(weights[u], dtype=np.float64) for u in range(len(units)) if units[u]]
    return np.array(rows, dtype=np.float64).reshape(len(rows), weights.shape[1])


def transport(history: Pairs, units: np.ndarray) -> dict[str, float]:
    """How the recorded units' incoming steps and displacements at the last checkpoint resemble their outgoing weights."""
    far = ("far_similarity", "far_size", "far_now", "far_drift", "stays")
    values = dict.fromkeys(("similarity", "size", "kept", "held", "drift", *far), NAN)
    t = len(history) - 1
    if t < 1:
        return values
    units = np.asarray(units, dtype=bool)
    w_in = [recorded_rows(pair[0], units) for pair in history]
    w_out = [recorded_rows(pair[1], units) for pair in history]
    with np.errstate(all="ignore"):
        d = w_in[t] - w_in[t - 1]
        values["similarity"] = pair_cosine(d, w_out[t - 1])
        values["size"] = size_correlation(d, w_out[t - 1])
        values["drift"] = pair_cosine(d, w_out[t - 1] - w_out[0])
        e = w_in[t] - w_in[0]
        values["far_similarity"] = pair_cosine(e, w_out[0])
        values["far_size"] = size_correlation(e, w_out[0])
        values["far_now"] = pair_cosine(e, w_out[t])
        values["far_drift"] = pair_cosine(e, w_out[t] - w_out[0])
        values["stays"] = pair_cosine(w_out[t], w_out[0])
        if t >= 2:
            values["kept"] = pair_cosine(d, w_in[t - 1] - w_in[t - 2])
            values["held"] = pair_cosine(d, w_in[1] - w_in[0])
    return values


def ridge(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Ridge regression of z on y, (units, units behind); all nan if y is all 0 or not finite."""
    none = np.full((y.shape[1], z.shape[1]), NAN, dtype=np.float64)
    if not np.any(y != 0) or not np.all(np.isfinite(y)):
        return none
    penalty = 0.1 * float(np.sum(y**2)) / y.shape[0]
    gram = y.T @ y + penalty * np.eye(y.shape[1])
    if penalty == 0 or not np.all(np.isfinite(gram)):
        return none
    return np.asarray(np.linalg.inv(gram) @ (y.T @ z), dtype=np.float64)


def linear_cka(y: np.ndarray, z: np.ndarray) -> float:
    """Linear CKA of two arrays that are centred already; nan if either is all 0."""
    top = float(np.sum((y.T @ z) ** 2))
    bottom = float(np.sqrt(np.sum((y.T @ y) ** 2)) * np.sqrt(np.sum((z.T @ z) ** 2)))
    return finite_or_nan(divide(top, bottom))


def coupling(history: Pairs) -> dict[str, float]:
    """How the units' output steps, and changes since the first, resemble their effect on the next layer."""
    near = ("similarity", "size", "kept", "held", "own", "next", "shared", "alike")
    far = ("far_similarity", "far_size", "far_now", "far_own", "far_next", "far_drift", "stays")
    values = dict.fromkeys(near + far, NAN)
    t = len(history) - 1
    if t < 0 or history[0][0].shape[0] == 0:
        return values
    with np.errstate(all="ignore"):
        ys = [centred(np.asarray(pair[0], dtype=np.float64)) for pair in history]
        zs = [centred(np.asarray(pair[1], dtype=np.float64)) for pair in history]
        values["shared"] = linear_cka(ys[t], zs[t])
        v_now = ridge(ys[t], zs[t])
        values["alike"] = pair_cosine(v_now, ys[t].T)
        if t >= 1:
            d = (ys[t] - ys[t - 1]).T  # one row per unit
            v = ridge(ys[t - 1], zs[t - 1])
            values["similarity"] = pair_cosine(d, v)
            values["size"] = size_correlation(d, v)
            values["own"] = pair_cosine(d, ys[t - 1].T)
            values["next"] = linear_cka(ys[t] - ys[t - 1], zs[t] - zs[t - 1])
            e = (ys[t] - ys[0]).T  # change since the first checkpoint
            v_first = ridge(ys[0], zs[0])
            values["far_similarity"] = pair_cosine(e, v_first)
            values["far_size"] = size_correlation(e, v_first)
            values["far_now"] = pair_cosine(e, v_now)
            values["far_own"] = pair_cosine(e, ys[0].T)
            values["far_next"] = linear_cka(ys[t] - ys[0], zs[t] - zs[0])
            values["far_drift"] = pair_cosine(e, v_now - v_first)
            values["stays"] = pair_cosine(v_now, v_first)
        if t >= 2:
            values["kept"] = pair_cosine(d, (ys[t - 1] - ys[t - 2]).T)
            values["held"] = pair_cosine(d, (ys[1] - ys[0]).T)
    return values
