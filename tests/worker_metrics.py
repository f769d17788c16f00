"""Works and metrics that worker processes import by their names, and what goes wrong in them."""

import os
import signal
import warnings
from pathlib import Path

import numpy as np


class Numbers:
    """Numbers in a row, as a group of work."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def __str__(self):
        return f"numbers {self.numbers[0]} to {self.numbers[-1]}"


class Squares:
    """Square numbers; a worker dies at each of `once` the first time, and at each of `always`; 0 cannot be squared."""

    def __init__(self, folder, once=(), always=()):
        self.folder, self.once, self.always = folder, once, always

    def __call__(self, groups):
        return ((group, self.square(number)) for group in groups for number in group.numbers)

    def square(self, number):
        if number in self.always or (number in self.once and first_time(self.folder, number)):
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 0:
            raise ZeroDivisionError("no number")
        if number == 9:
            warnings.warn("nine", FutureWarning, stacklevel=1)
            print("printed by a worker")
        return number**2


class Counts:
    """A metric: cells won by each prompt. It notes in whose process it is, and dies at some scenes, once each."""

    def __init__(self, folder, deadly=()):
        self.folder, self.deadly = folder, deadly

    def __call__(self, maps, example, trace):
        (Path(self.folder) / f"process {os.getpid()}").touch()
        number = number_of(example.image)
        if number in self.deadly and first_time(self.folder, f"scene {number}"):
            os.kill(os.getpid(), signal.SIGKILL)
        best = np.asarray(maps).argmax(1).reshape(len(maps), -1)
        return {"won": (("candidate", "prompt"), np.stack([np.bincount(one, minlength=maps.shape[1]) for one in best]))}


def number_of(scene):
    return scene.seed % 2**49  # those of the test split begin there


def first_time(folder, what):
    """Say whether nobody was here before, in any process."""
    mark = Path(folder) / f"mark {what}"
    if mark.exists():
        return False
    mark.touch()
    return True


def same(work):
    return work
