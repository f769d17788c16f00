"""Work in another process: what goes there and what comes back, errors and warnings included."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from denseclip_viz.errors import WorkerError, first_line

Work = Callable[[Iterable[Any]], Generator[tuple[Any, Any]]]
"""What is done with groups, one after the other: it gives outcomes, each with its group."""


class WorkerDied(Exception):
    """A worker ended before it answered; says how."""


class WorkerTraceback(Exception):
    """Where in a worker an error was raised: the cause of that error in this process."""


def module_folders() -> list[str]:
    """Say where this process finds modules, in words that hold in another one too."""
    return list(map(os.path.abspath, sys.path))


@dataclass
class Answer:
    """What a worker makes of one group.

    Attributes:
        outcomes: As far as it came.
        warned: Messages with their kinds.
        error: What ended it early.
        where: The traceback of that.
    """

    outcomes: list[Any] = field(default_factory=list)
    warned: list[tuple[str, type[Warning]]] = field(default_factory=list)
    error: Exception | None = None
    where: str = ""


def packed(thing: object, what: str) -> bytes:
    """Turn a thing into bytes that another process makes it of; functions of a notebook or a script go whole.

    Raises:
        WorkerError: It cannot be.

    Example:
        >>> cloudpickle.loads(packed(lambda x: x + 1, "a function"))(1)
        2
    """
    try:
        data: bytes = cloudpickle.dumps(thing)
    except Exception as error:
        raise WorkerError(
            f"{what} cannot be sent to a worker ({first_line(error)})",
            expected="paths, arrays, functions and objects of these",
            fix="Open files, locks and connections in a function where they are used, or do without an engine.",
        ) from error
    return data


class RemoteWork:
    """A worker's side: work that is unpacked at the first group, so that what is wrong with it is an answer too.

    Args:
        payload: A packed function that makes the work.
        gpu: Whether the work's model was on a GPU: here it comes to the first one that this process sees.
        folders: Where the process that sends the work finds modules; they are looked for there too.
    """

    def __init__(self, payload: bytes, gpu: bool, folders: Sequence[str] = ()) -> None:
        sys.path += [folder for folder in folders if folder not in sys.path]
        self.payload, self.gpu = payload, gpu
        self.work: Work | None = None

    def answer(self, group: bytes) -> bytes:
        """Do a packed group; give a packed `Answer`."""
        answer = Answer()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                for _, outcome in self._begun()([cloudpickle.loads(group)]):
                    answer.outcomes.append(outcome)
            except Exception as error:  # noqa: BLE001  raised again by who asked
                answer.error, answer.where = _sendable(error), traceback.format_exc()
        answer.warned = [(str(one.message), one.category) for one in caught]
        return packed(answer, "what the metric gives")

    def _begun(self) -> Work:
        if self.work is None:
            if self.gpu:
                import torch

                torch.serialization.register_package(0, lambda _: None, _to_own_gpu)
            self.work = cloudpickle.loads(self.payload)()
            self.payload = b""
        return self.work


def _to_own_gpu(storage: Any, place: str) -> Any:
    """Bring what was on any GPU to the one of this process, as torch asks for when it reads tensors."""
    return storage.cuda() if place.startswith("cuda") else None


def _sendable(error: Exception) -> Exception:
    """Give an error as it is if it comes whole out of another process, else what it says."""
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:  # noqa: BLE001  errors raise what they like when they are pickled
        return RuntimeError(f"{type(error).__name__}: {first_line(error)}")
    return error
