"""Workers of Ray, on this machine or on many."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from denseclip_viz.errors import WorkerError, first_line
from denseclip_viz.measure.processes import available_cpus, refuse_numbers
from denseclip_viz.measure.remote_work import RemoteWork, WorkerDied, module_folders
from denseclip_viz.validation import is_number

# nothing is sent to Ray's makers; a GPU that a worker did not ask for is not hidden from it; and on a busy machine
# a helper of its own may take longer to begin than the 15 s that newer versions give it
_OWN = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_agent_register_timeout_ms": "120000",
}
_OBJECTS = 256 * 2**20  # bytes of Ray's object store beside the model: groups and answers


@dataclass(frozen=True)
class Ray:
    """Workers of Ray, for `engine=`; `engine="ray"` is `Ray()`, `engine="ray://host:10001"` is `Ray("ray://host:10001")`.

    A Ray that is connected already is used as it is; else one is started on this machine, without dashboard and usage
    statistics, and ended with the work.

    Attributes:
        address: None for a Ray of its own on this machine; "auto" for the one that runs here; else as for `ray.init`.
        workers: How many; by default as many as there are CPUs, or GPUs with a model on one.
        threads: Of torch in each, and the CPUs that Ray sets aside for it; by default as many as in this process.
        gpus_per_worker: What each gets with a model on a GPU; 0.5 lets two share one.

    Raises:
        WorkerError: Numbers that cannot be.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.measure.Ray(workers=4, threads=1)
        Ray(address=None, workers=4, threads=1, gpus_per_worker=1.0)
    """

    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    gpus_per_worker: float = 1.0

    def __post_init__(self) -> None:
        refuse_numbers(workers=self.workers, threads=self.threads)
        share = self.gpus_per_worker
        if not is_number(share, 0) or not share or (share > 1 and share % 1):
            got, fix = f"gpus_per_worker={share!r}", "Try gpus_per_worker=0.5 for two workers on a GPU."
            raise WorkerError(got, expected="a whole number, or a share of one GPU", fix=fix)

    @contextmanager
    def crew(self, payload: bytes, threads: int, gpu: bool) -> Iterator[tuple[Callable[[], Actor], int]]:
        """Give what starts a worker, and how many there are to be."""
        ray = _import_ray()
        own = not ray.is_initialized()
        if own:
            self._connect(ray, threads, len(payload))
        try:
            here = ray.cluster_resources()
            room = here.get("GPU", 0) / self.gpus_per_worker if gpu else here.get("CPU", 0) / threads
            needs = {"num_cpus": threads, "num_gpus": self.gpus_per_worker if gpu else 0}
            kind, stored = ray.remote(**needs)(RemoteWork), ray.put(payload)
            yield lambda: Actor(ray, kind.remote(stored, gpu, module_folders())), self.workers or max(1, int(room))
        finally:
            if own:
                ray.shutdown()

    def _connect(self, ray: ModuleType, threads: int, size: int) -> None:
        """Reach the address, or start a Ray of its own.

        Raises:
            WorkerError: Nobody answers there.
        """
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        fix = "Start one there: ray start --head."
        if self.address is None:
            cpus, memory = max(available_cpus(), (self.workers or 1) * threads), _OBJECTS + 2 * size
            options |= {"num_cpus": cpus, "object_store_memory": memory, "include_dashboard": False}
            fix = 'Try again when this machine has less to do, or take engine="processes".'
        before = {name: os.environ.get(name) for name in _OWN}
        os.environ.update(_OWN if self.address is None else {})
        try:
            ray.init(self.address or "local", **options)
        except Exception as error:
            got = f"No Ray at {self.address or 'this machine'} ({first_line(error)})"
            raise WorkerError(got, expected="one that starts or can be reached", fix=fix) from error
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


class Actor:
    """One worker of Ray, as this process sees it."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self.ray, self.actor = ray, actor

    def ask(self, group: bytes) -> bytes:
        """Send a group and wait for the answer.

        Raises:
            WorkerDied: The worker, or its machine, has ended.
        """
        errors = self.ray.exceptions
        try:
            answer: bytes = self.ray.get(self.actor.answer.remote(group))
        except (
            errors.RayActorError,
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
        ) as error:
            raise WorkerDied(first_line(error)) from error
        return answer

    def stop(self) -> None:
        """End it at once."""
        self.ray.kill(self.actor)


def _import_ray() -> Any:
    """Import Ray.

    Raises:
        WorkerError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        fix = 'Run pip install "denseclip_viz[ray]", or take engine="processes".'
        raise WorkerError('engine="ray" without Ray', expected="Ray installed", fix=fix) from error
    return ray
