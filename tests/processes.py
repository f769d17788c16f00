"""Processes that begin with all imported, as a test that kills them would else wait five seconds for its first step."""

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
# forked from a process that imports and does nothing else; where that is not safe, each imports for itself
CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
CONTEXT.set_forkserver_preload(["open_clip", "xarray", "denseclip_viz.model"])


def _on_one_thread(target: Callable[..., T], *arguments: object) -> T:
    torch.set_num_threads(1)
    return target(*arguments)


def killed(when: Callable[[], bool], target: Callable[..., object], *arguments: object) -> None:
    """Run a function in a process of its own, and kill that once `when()`; to end before is an error."""
    started, until = CONTEXT.Process(target=_on_one_thread, args=(target, *arguments)), time.monotonic() + 300
    started.start()
    while not when() and started.is_alive() and time.monotonic() < until:
        time.sleep(0.005)
    started.kill()
    started.join()
    assert started.exitcode == -9, f"it ended by itself, with {started.exitcode}"


def result_of(target: Callable[..., T], *arguments: object) -> T:
    """What a function gives back in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        return pool.submit(_on_one_thread, target, *arguments).result()


def forked(work: Callable[[], object]) -> int:
    """Run it in a fork, which has all that this process has; an error there ends that with 1."""
    if number := os.fork():
        return number
    status = 1
    try:
        work()
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


def ended(number: int) -> int:
    """Wait for a fork, and give its exit code, or what killed it below 0."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
