"""Work beside the notebook's own thread: one piece at a time, the newest wins, and no thread outlives its work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from denseclip_viz.clip.hooks import ThreadMode

Report = Callable[[str, float], None]
"""Called from the work with what it does and the share that is done, 0 to 1."""
Work = Callable[[Report], Any]


class Cancelled(BaseException):
    """The work was told to stop. Like an interrupt it passes whatever handles errors."""


class CancelAtNextTorchCall(ThreadMode):
    """End the work of this thread at its next torch call, once, after `stop` was set.

    Example:
        >>> import torch
        >>> stop = threading.Event()
        >>> with CancelAtNextTorchCall(stop):
        ...     _ = torch.ones(1) + 1
        ...     stop.set()
        ...     torch.ones(1)
        Traceback (most recent call last):
        denseclip_viz.explorers.worker.Cancelled
    """

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop, self._raised = stop, False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self._stop.is_set() and not self._raised:
            self._raised = True  # only once: what cleans up behind the work may call torch too
            raise Cancelled
        return func(*args, **(kwargs or {}))


@dataclass(eq=False)
class _Job:
    work: Work
    then: Callable[[Any], None]
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, report: Report, previous: Future[Any] | None) -> Any:
        if previous is not None:
            wait([previous])  # so that never two passes run at once
        with CancelAtNextTorchCall(self.stop):
            return self.work(report)


class Worker:
    """Run work in a thread and hand its result over on the thread of the notebook's event loop.

    A newer piece supersedes the older: that is told to stop, its result is dropped, and the newer begins when it has
    ended, so that never two passes run at once. Where there is no event loop (a plain script), work runs before
    `start` returns. The loop is the one that runs where this is created, in a notebook the kernel's own: JupyterLab
    sends the messages of some widgets to further threads, which end when the page is left.

    Args:
        on_progress: Called with progress, on the loop's thread.
        on_error: Called with what the work raised.
        on_idle: Called when there is nothing to do any more.
        lock: Held while anything here is called: callbacks of widgets come from several threads.
    """

    def __init__(
        self,
        *,
        on_progress: Report,
        on_error: Callable[[BaseException], None],
        on_idle: Callable[[], None] = lambda: None,
        lock: threading.RLock | None = None,
    ) -> None:
        self._on_progress, self._on_error, self._on_idle = on_progress, on_error, on_idle
        self._lock, self._home = lock or threading.RLock(), _running_loop()
        self._job: _Job | None = None
        self._running: Future[Any] | None = None

    @property
    def busy(self) -> bool:
        """Whether a result is still to come."""
        return self._job is not None

    def start(self, work: Work, then: Callable[[Any], None]) -> None:
        """Run work in a thread, then call `then` with its result on the loop's; what ran before is superseded."""
        with self._lock:
            if self._job is not None:
                self._job.stop.set()
            job, loop = _Job(work, then), self._loop()
            self._job = job
            if loop is None:
                self._run_now(job)
            else:
                self._run_beside(job, loop)

    def stop(self) -> bool:
        """Give up what runs, whose result will not come; return whether there was anything."""
        with self._lock:
            job, self._job = self._job, None
            if job is not None:
                job.stop.set()
                self._on_idle()
            return job is not None

    def _loop(self) -> asyncio.AbstractEventLoop | None:
        return self._home if self._home is not None and self._home.is_running() else _running_loop()

    def _run_beside(self, job: _Job, loop: asyncio.AbstractEventLoop) -> None:
        def report(text: str, share: float) -> None:
            if job.stop.is_set():
                raise Cancelled
            _hand_over(loop, self._report, job, text, share)

        pool = ThreadPoolExecutor(1, thread_name_prefix="dcv-explorer")
        previous = self._running
        future = self._running = pool.submit(job.run, report, previous)
        future.add_done_callback(lambda done: _hand_over(loop, self._deliver, job, done))
        pool.shutdown(wait=False)  # its only thread ends with this work

    def _run_now(self, job: _Job) -> None:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(job.run, lambda text, share: None, None)
            try:
                wait([future])
            finally:
                if not future.done():
                    self.stop()  # an interrupt of the waiting ends the work too
        self._deliver(job, future)

    def _report(self, job: _Job, text: str, share: float) -> None:
        with self._lock:
            if job is self._job:
                self._on_progress(text, share)

    def _deliver(self, job: _Job, done: Future[Any]) -> None:
        with self._lock:
            if self._running is done:
                self._running = None
            if job is not self._job:
                return
            self._job, error = None, done.exception()
            self._on_idle()
            if error is None:
                job.then(done.result())
            else:
                self._on_error(error)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _hand_over(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: Any) -> None:
    if not loop.is_closed():  # the kernel is going down: nobody waits any more
        loop.call_soon_threadsafe(call, *args)
