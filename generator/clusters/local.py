"""`local`: worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictInt

from generator.clusters import pinning, process, quiet
from generator.clusters.contract import DEVICES, Pool, Say, Started
from generator.cores import cores
from generator.errors import RequestError, unknown
from generator.toml import PositiveInt

if TYPE_CHECKING:
    from dask.distributed import LocalCluster

SILENCE = "distributed.scheduler.worker-ttl"  # after which a worker is taken for dead: a user's to say
START = "distributed.worker.multiprocessing-method"
CLOSED = "distributed.deploy.lost-worker-timeout"  # after a death, when a place that has no worker just then is closed
NEVER = "365 days"
BRIEF = 2.0  # seconds of one core that are spent before workers could begin
REFILLED_MS = 5000  # between two looks for places without a worker


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. Does not start CUDA."""
    if visible := os.environ.get(pinning.VISIBLE, "").strip():
        return [device.strip() for device in visible.split(",")]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def resolved(device: str) -> str:
    """`cpu` or `cuda`; "auto" is a GPU where there is one. Raises RequestError for an unknown device, or for cuda without one."""
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device == "cpu":
        return device
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RequestError("device 'cuda' was asked for, but PyTorch finds no CUDA device here; use --device cpu")
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def without_script() -> Iterator[None]:
    """Processes that start inside do not import the user's script again, as they would to find what it defines.

    They need nothing of it, and a script that has no `if __name__ == "__main__":` would start all over in each of them.
    """
    main = sys.modules["__main__"]
    kept: dict[str, Any] = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
    main.__spec__ = None
    vars(main).pop("__file__", None)
    try:
        yield
    finally:
        vars(main).update(kept)


@contextmanager
def refilled(cluster: LocalCluster, count: int) -> Iterator[None]:
    """Places whose worker died and got no successor, as when none could be started, are filled again.

    Dask itself would close each place that has no worker 15 s after a death: also one whose worker takes so long to start, or has
    just died of the next cohort. That is switched off in `Local.settings`.
    """
    from tornado.ioloop import PeriodicCallback

    loop: Any = cluster.loop
    empty: set[Any] = set()

    async def refill() -> None:
        nonlocal empty
        seen = {place for place in cluster.workers if not _kept(cluster.workers[place])}
        closed = [cluster.workers.pop(place) for place in seen & empty]
        empty = seen - empty
        cluster.scale(count)
        for nanny in closed:
            await nanny.close()

    look = PeriodicCallback(refill, REFILLED_MS)
    loop.add_callback(look.start)
    try:
        yield
    finally:
        loop.add_callback(look.stop)


def start_method() -> str:
    """How workers start: as copies of a process that has imported what they need, where there can be one, or each by itself.

    A copy is there at once, and shares the libraries' memory with the others. That process stays until this one ends, with the
    environment that it found, which copies get brought up to date; but what was taken out of it since they would still have.
    """
    if sys.platform != "linux":  # elsewhere libraries that have been loaded do not bear to be copied
        return "spawn"
    if sys.version_info < (3, 11, 1):  # whose socket takes orders from everybody on the machine (CVE-2022-42919)
        return "spawn"
    os.environ.update(process.environment())
    multiprocessing.set_forkserver_preload(["distributed.nanny", "generator.running.work"])
    with process.unchanged(pinning.VISIBLE):
        os.environ.pop(pinning.VISIBLE, None)  # of another run's GPUs, this one's workers would see one
        try:
            forkserver.ensure_running()
        except OSError:  # its socket lies in the temporary folder, whose path may be too long for one
            return "spawn"
    return "forkserver"


def _kept(nanny: Any) -> bool:
    """Whether it has a worker, or starts one."""
    from distributed.core import Status

    return nanny.process is not None and nanny.process.status in (Status.starting, Status.running)


class Local(Started):
    """Worker processes on this machine, with one thread each. Nobody else can reach them, or their temporary folder.

    Args:
        workers: how many; by default one per core, or per GPU, and none for a run of a moment; 0 is this process itself.
        workers_per_gpu: that share a GPU, where that is the device.
    """

    kind: Literal["local"] = "local"
    workers: Annotated[StrictInt, Field(ge=0)] | None = None
    workers_per_gpu: PositiveInt = 1

    @property
    def inside(self) -> bool:
        """With no workers."""
        return self.workers == 0

    @property
    def here(self) -> bool:
        """It is."""
        return True

    def sized(self, workers: int) -> Local:
        """The same with so many workers."""
        return self.model_copy(update={"workers": workers})

    def device(self, asked: str, say: Say) -> str:
        """This machine's."""
        return resolved(asked)

    def count(self, device: str = "cpu") -> int:
        """How many processes: one per core, or `workers_per_gpu` for each GPU."""
        if self.workers is not None:
            return self.workers
        return len(gpus()) * self.workers_per_gpu if device == "cuda" else cores()

    def suited(self, device: str, seconds: float) -> Local:
        """This process itself, if nobody said how many workers and it is done sooner than they would be there."""
        brief = self.workers is None and device == "cpu" and seconds < BRIEF
        return self.sized(0) if brief else self

    def at_once(self, device: str) -> int:
        """A cohort in each."""
        return max(1, self.count(device))

    def described(self, device: str) -> list[str]:
        """How many, and on what."""
        if self.inside:
            return ["cluster: none, cohorts are trained in this process"]
        each = f", {self.workers_per_gpu} per GPU" if device == "cuda" else ""
        return [f"cluster: {self.count(device)} local worker processes on {device}{each}"]

    def settings(self, device: str) -> dict[str, Any]:
        """Dask's own but for one, whatever the user's are: those are for other clusters, and some would make this one fail."""
        import dask
        import distributed  # noqa: F401  (whose defaults these are, too)

        silence = dask.config.get(SILENCE)
        try:
            dask.utils.parse_timedelta(silence)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise RequestError(f"Dask's setting {SILENCE} is {silence!r}: say a time, such as '5 minutes'") from error
        return {
            **dask.config.merge(*dask.config.defaults),
            SILENCE: silence,
            CLOSED: NEVER,
            "distributed.nanny.pre-spawn-environ": process.environment(),
        }

    def open(self, device: str, most: int, say: Say, stack: ExitStack) -> Pool:
        """Start them."""
        import dask
        from dask.distributed import Client, LocalCluster, Security

        count = min(self.count(device), most)
        stack.enter_context(without_script())
        stack.enter_context(process.unchanged(*process.environment(), "PYTHONHASHSEED"))
        with process.uninterrupted():
            stack.enter_context(dask.config.set({START: start_method()}))
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                security=Security.temporary(),
                scheduler_kwargs=self.scheduler(),
                silence_logs=50,
                preload=[pinning.__name__, quiet.__name__],
                env=os.environ
                | process.environment()
                | ({pinning.VISIBLE: ",".join(gpus())} if device == "cuda" else {}),
            )
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        stack.enter_context(refilled(cluster, count))
        return Pool(client, count, dashboard=self.page(cluster))
