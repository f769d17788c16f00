"""One base class for everything that can go wrong; each message says what came, what was expected, what to do."""

import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import Any, cast

_shown_elsewhere: ContextVar[list[str] | None] = ContextVar("warnings that a widget shows", default=None)


class DenseclipVizError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        got: What came in, named as the user knows it.
        expected: What would have been right.
        fix: What to do now.

    Example:
        >>> from denseclip_viz.errors import ImageError
        >>> str(ImageError("cat.jpg is empty (0 bytes)", expected="an image file", fix="Copy it again."))
        'cat.jpg is empty (0 bytes). Expected an image file. Copy it again.'
    """

    def __init__(self, got: str, *, expected: str, fix: str) -> None:
        self.got, self.expected, self.fix = map(_with_short_words, (got, expected, fix))
        super().__init__(f"{self.got}. Expected {self.expected}. {self.fix}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to make it anew: an error of a worker process comes back whole."""
        return partial(type(self), expected=self.expected, fix=self.fix), (self.got,), vars(self)


class ImageError(DenseclipVizError):
    """An image that cannot be read, or that would not be read rightly; `place` is its number among many."""

    place: int | None = None


class DatasetError(DenseclipVizError):
    """A data set's folder in which something is missing or does not match; the message lists the files."""


class GeometryError(DenseclipVizError):
    """A size, crop or tiling that cannot be."""


class PromptError(DenseclipVizError):
    """Prompts or templates that cannot be used as they are; `text` is one that a tokenizer refused."""

    text: str | None = None


class LayerError(DenseclipVizError):
    """A layer, tap or head that does not exist, or that was asked for and never fired."""


class WeightsError(DenseclipVizError):
    """Weights that are not here, do not fit the architecture, or cannot be trusted."""


class ModelNameError(DenseclipVizError):
    """A model name, tag or switch that is not known."""


class DeviceError(DenseclipVizError):
    """A device that is not here, or a dtype that it does not compute in."""


class UnsupportedTowerError(DenseclipVizError):
    """An image tower whose pooling this package does not know; a guess is never made."""


class RecompositionError(DenseclipVizError):
    """Contributions and rest do not sum to the embedding: the tower is not what it was taken for."""


class OutOfMemoryError(DenseclipVizError):
    """The machine or the GPU ran out of memory; the message names the knob that helps."""


class OutputError(DenseclipVizError):
    """A place that cannot be written, a file that would be overwritten, or an ending that names no format."""


class WorkerError(DenseclipVizError):
    """Workers that there are not, that cannot be sent what is asked of them, or that end in the middle of it."""


class UntrainedImageWarning(UserWarning):
    """An image of another kind than all that the model was trained on."""


def _with_short_words(text: str) -> str:
    """Leave the middle of endless words out, such as a file's content that came as a name."""
    return re.sub(r"\S{300,}", lambda word: f"{word[0][:60]}...{word[0][-90:]}", text)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the line outside this package that asked, however deep the work is.

    Example:
        >>> with shown_elsewhere():
        ...     warn("nobody hears this")
    """
    if (listed := _shown_elsewhere.get()) is not None:
        listed.append(message)
        return
    depth, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("denseclip_viz."):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, category, stacklevel=depth)


_FILTERS = Lock()
_silenced: Counter[str] = Counter()


@contextmanager
def silenced(message: str = "") -> Iterator[None]:
    """Keep the warnings of others off: those that begin like this, a pattern; all by default.

    Filters are the whole process's: two threads that set all of them aside at once, as `catch_warnings` does, would
    leave those of one for ever. Here one filter comes with the first that asks for it and goes with the last.

    Example:
        >>> with silenced("a full stop"):
        ...     warnings.warn("a full stop too many")
    """
    pattern = f"(?#denseclip_viz){message}"  # like nobody else's, which stays
    with _FILTERS:
        _silenced[pattern] += 1
        warnings.filterwarnings("ignore", message=pattern)  # one that is there comes to the front
    try:
        yield
    finally:
        with _FILTERS:
            _silenced[pattern] -= 1
            entry = ("ignore", re.compile(pattern, re.IGNORECASE), Warning, None, 0)
            if not _silenced[pattern] and entry in warnings.filters:
                cast(list[Any], warnings.filters).remove(entry)


@contextmanager
def shown_elsewhere() -> Iterator[list[str]]:
    """Keep warnings of this thread's work off standard error, where a widget shows them; list them.

    Example:
        >>> with shown_elsewhere() as warned:
        ...     warn("a full stop too many")
        >>> warned
        ['a full stop too many']
    """
    warned: list[str] = []
    token = _shown_elsewhere.set(warned)
    try:
        yield warned
    finally:
        _shown_elsewhere.reset(token)


def first_line(error: BaseException) -> str:
    """Give what an error says, in one line of at most 300 characters.

    Example:
        >>> first_line(EOFError()), first_line(ValueError("of 3"))
        ('EOFError', 'of 3')
    """
    return (str(error).strip().splitlines() or [""])[0][:300] or type(error).__name__
