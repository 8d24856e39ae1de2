"""How hard a task is: the accuracy of a linear read-out, which needs no network and takes a moment.

`python -m generator.curricula.reference mixture:17` prints it beside chance and the task's parameters.

The read-out is least squares onto the classes with a ridge (Hastie et al., The Elements of Statistical Learning, 2009, 4.2). It
reads the pixels; of textures the logarithm of their power spectrum, for no linear read-out of pixels tells textures apart.
"""

from __future__ import annotations

import sys

import numpy as np
from jaxtyping import Float, Int64

from generator.curricula import families, tasks

SHRINKAGE = 0.1  # ridge, in the mean variance of a feature


def reference(name: str, pixels: int = 0) -> float:
    """Accuracy of the read-out on a task's test part, at its native side unless `pixels` says otherwise.

    Raises RequestError for an unknown name, or data that cannot be read.
    """
    about, family = tasks.info(name), families.drawn(name)
    task = tasks.load(name, pixels or about.sides[0])
    reading = family.reading if family else families.Family.reading
    train, test = ((reading(part.read(np.arange(len(part.labels)))), part.labels) for part in (task.train, task.test))
    return accuracy(*train, *test)


def accuracy(
    train: Float[np.ndarray, "n features"],
    labels: Int64[np.ndarray, " n"],
    test: Float[np.ndarray, "m features"],
    truth: Int64[np.ndarray, " m"],
) -> float:
    """Of the read-out that is fitted to one part, on the other."""
    centre = train.mean(0, dtype=np.float64)
    x, onehot = train - centre, np.eye(labels.max() + 1)[labels]
    cross = x.T @ x
    ridge = SHRINKAGE * cross.trace() / len(cross) * np.eye(len(cross))
    weights = np.linalg.solve(cross + ridge, x.T @ (onehot - onehot.mean(0)))
    said = ((test - centre) @ weights + onehot.mean(0)).argmax(1)
    return float((said == truth).mean())


def main(names: list[str]) -> None:
    """Print what is known of tasks."""
    for name in names:
        drawn = ", ".join(f"{key} {value:.4g}" for key, value in tasks.parameters(name).items())
        print(f"{name}: {drawn}" if drawn else name)
        print(f"  linear read-out {reference(name):.2f}, chance {1 / tasks.info(name).classes:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
