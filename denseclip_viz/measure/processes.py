"""Worker processes on this machine.

Each is a fresh interpreter that is fed through its standard input: nothing is forked, the caller's script is not run
again, no semaphore or shared memory is made, and a worker ends by itself when the process that feeds it is gone, even
by kill -9. The pools that there are, `concurrent.futures` and loky, know at a death that some worker died, and give up
all that is at work in any; here it is known which group it was.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import IO

from denseclip_viz.errors import WorkerError, warn
from denseclip_viz.measure.remote_work import RemoteWork, WorkerDied, module_folders
from denseclip_viz.validation import is_whole

# answers get a place of their own before anything is imported: what is printed there is none of them
_BEGIN = """
import os, sys
gpu, *sys.path[:] = sys.argv[1:]
answers = os.dup(1)
os.dup2(2, 1)
from denseclip_viz.measure.processes import serve
serve(answers, gpu == "gpu")
"""
_SIZE = struct.Struct("<Q")


@dataclass(frozen=True)
class Processes:
    """Worker processes on this machine, for `engine=`; `engine=4` is `Processes(4)`.

    Each has its own copy of the model, and with a model on a GPU its own GPU as far as there are as many. Functions of
    a notebook or of a script go with it, and `if __name__ == "__main__"` is not needed.

    Attributes:
        workers: How many; by default as many as there are CPUs.
        threads: Of torch in each; by default as many as in this process. Another number may change the last bit of a
            float: `torch.set_num_threads(1)` at the top of a script, and everything is the same and fast.

    Raises:
        WorkerError: Numbers that cannot be.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.measure.Processes(4, threads=1)
        Processes(workers=4, threads=1)
    """

    workers: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        refuse_numbers(workers=self.workers, threads=self.threads)

    @contextmanager
    def crew(self, payload: bytes, threads: int, gpu: bool) -> Iterator[tuple[Callable[[], Process], int]]:
        """Give what starts a worker, and how many there are to be."""
        cpus = available_cpus()
        workers = self.workers or cpus
        if threads > 1 and workers * threads > cpus:
            warn(
                f"{workers} workers with {threads} threads each take turns on {cpus} CPUs: this is slow. Call "
                f"torch.set_num_threads({max(1, cpus // workers)}) first."
            )
        numbers = count()
        yield lambda: Process(payload, gpu, next(numbers)), workers


def available_cpus() -> int:
    """Count the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def refuse_numbers(**given: int | None) -> None:
    """Refuse what is neither None nor a whole number from 1.

    Raises:
        WorkerError: One is.
    """
    for name, number in given.items():
        if number is not None and not is_whole(number, 1):
            got, fix = f"{name}={number!r}", f"Try {name}=2, or leave it out."
            raise WorkerError(got, expected="a whole number from 1", fix=fix)


class Process:
    """One worker process, as this process sees it."""

    def __init__(self, payload: bytes, gpu: bool, number: int) -> None:
        self.payload = payload
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, "gpu" if gpu else "cpu", *module_folders()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **own_gpu(number)} if gpu else None,
            start_new_session=True,  # an interrupt from the keyboard is for this process, which ends the others
        )

    def ask(self, group: bytes) -> bytes:
        """Send a group and wait for the answer.

        Raises:
            WorkerDied: The worker has ended.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            if self.payload:
                _write(self.process.stdin, self.payload)
                self.payload = b""
            _write(self.process.stdin, group)
            return _read(self.process.stdout)
        except (OSError, EOFError, ValueError) as error:  # ValueError: its pipes were closed by `stop`
            raise WorkerDied(_end_of(self.process.wait())) from error

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what was not sent any more
                assert pipe is not None
                pipe.close()


def serve(answers: int, gpu: bool) -> None:
    """Answer group after group, until nobody asks any more: what a worker process does.

    Args:
        answers: The file descriptor that answers go to.
        gpu: As for `RemoteWork`.
    """
    asked = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with suppress(EOFError, BrokenPipeError), asked, os.fdopen(answers, "wb") as out:
        work = RemoteWork(_read(asked), gpu)
        while True:
            _write(out, work.answer(_read(asked)))


def own_gpu(number: int) -> dict[str, str]:
    """Say by its variable which GPU worker `number` sees: of those that this process sees, in turns."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    gpus = visible.split(",")
    return {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}


def _write(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes:
    (size,) = _SIZE.unpack(_exactly(pipe, _SIZE.size))
    return _exactly(pipe, size)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _end_of(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"
