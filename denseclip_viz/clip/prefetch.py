"""Work in threads, ahead of whoever takes the results; in order, and never far ahead."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Pool = ThreadPoolExecutor | None
"""Threads that work ahead, or None: all is done in the caller's own, when it is asked for."""


@contextmanager
def threads(count: int) -> Iterator[Pool]:
    """Have this many threads, none of 0; at the end what they have not begun is dropped, whatever ended it.

    Threads and no processes: decoding, resizing and copying let others work beside them, images in memory need not be
    sent, and a script needs no `if __name__ == "__main__"`.
    """
    if not count:
        yield None
        return
    pool = ThreadPoolExecutor(count, thread_name_prefix="denseclip-viz")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(work: Callable[[Item], Result], items: Iterable[Item], pool: Pool, most: int) -> Iterator[Result]:
    """Give `work(item)` of each item in order; threads are at most `most` items further than what was taken.

    Items are taken in the caller's thread. An error, of an item or of its work, comes when its turn does.

    Example:
        >>> with threads(2) as pool:
        ...     list(ahead(abs, [-3, -2, -1], pool, most=2))
        [3, 2, 1]
    """
    if pool is None:
        yield from map(work, items)
        return
    source, waiting = iter(items), deque[Future[Result]]()
    end: Exception | None = None
    while True:
        while end is None and len(waiting) <= most:
            try:
                waiting.append(pool.submit(work, next(source)))
            except Exception as error:  # noqa: BLE001 - raised in its turn; StopIteration is the end that is none
                end = error
        if not waiting:
            break
        yield waiting.popleft().result()
    if end is not None and not isinstance(end, StopIteration):
        raise end


def cores() -> int:
    """Count the cores that this process may use.

    Example:
        >>> cores() >= 1
        True
    """
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
