"""Where work is done: in this process, in several, or on a cluster; group by group, each as often as it takes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar

import cloudpickle
import torch

from denseclip_viz.errors import WorkerError, warn
from denseclip_viz.measure.processes import Processes
from denseclip_viz.measure.ray_workers import Ray
from denseclip_viz.measure.remote_work import Answer, Work, WorkerDied, WorkerTraceback, packed

Engine = int | str | Processes | Ray
Group = TypeVar("Group")
TRIES = 3  # workers that one group may cost
# what decides the last bit of a float beside the threads: (how it is known, how it is set)
_TORCH = (
    ("get_default_dtype", "set_default_dtype"),
    ("get_float32_matmul_precision", "set_float32_matmul_precision"),
    ("are_deterministic_algorithms_enabled", "use_deterministic_algorithms"),
)


class Worker(Protocol):
    """Somebody who does one group after the other."""

    def ask(self, group: bytes) -> bytes:
        """Send a packed group and wait for a packed `Answer`; raise `WorkerDied` if it cannot be had."""

    def stop(self) -> None:
        """End it at once, whatever it does."""


class Kind(Protocol):
    """What `Processes` and `Ray` have in common."""

    @property
    def threads(self) -> int | None:
        """Of torch in each worker."""

    def crew(self, payload: bytes, threads: int, gpu: bool) -> AbstractContextManager[tuple[Callable[[], Worker], int]]:
        """Give what starts a worker, and how many there are to be."""


def engine_of(engine: Engine | None) -> Kind | None:
    """Read what stands for an engine: a number of processes, "processes", "ray" or an address of Ray.

    Raises:
        WorkerError: Something else.

    Example:
        >>> engine_of(2), engine_of("ray://head:10001").address
        (Processes(workers=2, threads=None), 'ray://head:10001')
    """
    if engine is None or isinstance(engine, Processes | Ray):
        return engine
    if isinstance(engine, int) and not isinstance(engine, bool):
        return Processes(engine)
    if isinstance(engine, str) and engine.startswith("ray://"):
        return Ray(engine)
    if engine not in ("processes", "ray"):
        got, fix = f"engine={engine!r}", "Try engine=2 for two worker processes, or leave it out."
        expected = "a number of processes, 'processes', 'ray' or 'ray://HOST:PORT'"
        raise WorkerError(got, expected=expected, fix=fix)
    return Processes() if engine == "processes" else Ray()


def results_of(
    engine: Kind | None, work: Work, groups: Iterable[Group], *, gpu: bool = False
) -> Generator[tuple[Group, Any]]:
    """Do work on groups, and give each outcome with its group; those of other processes in the order they come.

    A group whose worker dies is done again by another one. Of an error in a group, what came before it is given, then
    what the other workers are at, then the error is raised.

    Args:
        engine: Where; None for this process, where all groups are one stream of work.
        work: What is done with groups. For other processes it is sent once to each, and gets one group after another.
        groups: Read ahead by at most one for each worker; each says what it is by `str`.
        gpu: Whether the work holds a model on a GPU.

    Raises:
        WorkerError: A group that ended `TRIES` workers, or something that cannot be sent.
    """
    return work(groups) if engine is None else _elsewhere(engine, work, groups, gpu)


def _elsewhere(engine: Kind, work: Work, groups: Iterable[Any], gpu: bool) -> Generator[tuple[Any, Any]]:
    threads = engine.threads or torch.get_num_threads()
    state = {change: getattr(torch, known)() for known, change in _TORCH} | {"set_num_threads": threads}
    payload = packed(partial(_begun, state, work), "The model, the candidates or the metric")
    warned: set[tuple[str, type[Warning]]] = set()
    with engine.crew(payload, threads, gpu) as (hire, most), ThreadPoolExecutor(most) as talks:
        staff = Staff(hire, most, talks)
        try:
            for group, answer in staff.answers(groups):
                for text, kind in dict.fromkeys(answer.warned):
                    if (text, kind) not in warned:
                        warned.add((text, kind))
                        warn(text, kind)
                yield from ((group, outcome) for outcome in answer.outcomes)
        finally:
            staff.stop()


def _begun(state: dict[str, Any], work: Work) -> Work:
    """Let torch in a worker be set as it is in the process that sends the work."""
    for change, value in state.items():
        getattr(torch, change)(value)
    return work


@dataclass(eq=False)
class _Task:
    """A group on its way."""

    group: Any
    packed: bytes
    deaths: int = 0


class Staff:
    """Workers, what each is at, and what is ready for the next one that is free.

    Args:
        hire: Starts a worker.
        most: How many there may be at once.
        talks: Threads, one for each.
    """

    def __init__(self, hire: Callable[[], Worker], most: int, talks: ThreadPoolExecutor) -> None:
        self.hire, self.most, self.talks = hire, most, talks
        self.idle: list[Worker] = []
        self.busy: dict[Future[bytes], tuple[Worker, _Task]] = {}
        self.ready: list[_Task] = []
        self.failed: Exception | None = None

    def answers(self, groups: Iterable[Any]) -> Iterator[tuple[Any, Answer]]:
        """Have all groups done; give the answers in the order they come.

        Raises:
            Exception: What a worker raised, or `WorkerError`.
        """
        tasks, more = (_Task(group, packed(group, f"One of {group}")) for group in groups), True
        while more or self.ready or self.busy:
            if more and len(self.ready) < self.most:
                self.ready += (fresh := list(islice(tasks, 1)))
                more = bool(fresh)
            self._assign()
            if not more:
                self._dismiss()
            reading = more and len(self.ready) < self.most
            for future in wait(self.busy, timeout=0 if reading else None, return_when=FIRST_COMPLETED).done:
                if answered := self._take(future):
                    yield answered
            more = more and self.failed is None
        if self.failed is not None:
            raise self.failed

    def stop(self) -> None:
        """End all workers."""
        self.idle += [worker for worker, _ in self.busy.values()]
        self._dismiss()

    def _assign(self) -> None:
        while self.ready and (self.idle or len(self.busy) < self.most):
            worker, task = self.idle.pop() if self.idle else self.hire(), self.ready.pop(0)
            self.busy[self.talks.submit(worker.ask, task.packed)] = worker, task

    def _dismiss(self) -> None:
        while self.idle:
            self.idle.pop().stop()

    def _take(self, future: Future[bytes]) -> tuple[Any, Answer] | None:
        """Take what a worker answers, and give it the next task; if it died, its own task comes again first."""
        worker, task = self.busy.pop(future)
        try:
            answer: Answer = cloudpickle.loads(future.result())
        except WorkerDied as death:
            worker.stop()
            self._again(task, death)
            return None
        self.idle.append(worker)
        if answer.error is not None:
            answer.error.__cause__ = WorkerTraceback(f"\n{answer.where}")
            self._fail(answer.error)
        self._assign()
        return task.group, answer

    def _again(self, task: _Task, death: WorkerDied) -> None:
        task.deaths += 1
        if task.deaths < TRIES and self.failed is None:
            self.ready.insert(0, task)
        if task.deaths < TRIES:
            return
        got = f"{task.group} ended {TRIES} workers, the last one {death}"
        fix = "Look at them without an engine; if memory ran out, take fewer workers or a smaller batch_size."
        self._fail(WorkerError(got, expected="workers that live to answer", fix=fix))

    def _fail(self, error: Exception) -> None:
        self.failed = self.failed or error
        self.ready.clear()
