"""What was asked for last, kept as long as it is small: a worker goes from task to task and comes back to each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Recent(Generic[P, T]):
    """A function that remembers: its last `few` results of any size, and more of them while all take at most `most` bytes."""

    def __init__(self, make: Callable[P, T], few: int, most: int, size: Callable[[T], int]) -> None:
        self.make, self.few, self.most, self.size = make, few, most, size
        self.__doc__, self.__name__ = make.__doc__, make.__name__
        self.kept: OrderedDict[Hashable, T] = OrderedDict()  # the last one asked for at the end
        self.lock = RLock()  # a second thread waits for what the first makes, and does not make it too

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (args, tuple(sorted(kwargs.items())))
        with self.lock:
            if key not in self.kept:
                self.kept[key] = self.make(*args, **kwargs)
            self.kept.move_to_end(key)
            held = sum(map(self.size, self.kept.values()))
            while len(self.kept) > self.few and held > self.most:
                held -= self.size(self.kept.popitem(last=False)[1])
            return self.kept[key]

    def cache_clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self.kept.clear()


def recent(few: int, most: int, size: Callable[[T], int]) -> Callable[[Callable[P, T]], Recent[P, T]]:
    """The decorator that makes one; `size` counts the bytes of a result."""
    return lambda make: Recent(make, few, most, size)
