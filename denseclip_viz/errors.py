"""One base class for everything that can go wrong; each message says what came, what was expected, what to do."""

from functools import partial
from typing import Any


class DenseclipVizError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        got: What came in, named as the user knows it.
        expected: What would have been right.
        fix: What to do now.

    Example:
        >>> str(ImageError("cat.jpg is empty (0 bytes)", expected="an image file", fix="Copy it again."))
        'cat.jpg is empty (0 bytes). Expected an image file. Copy it again.'
    """

    def __init__(self, got: str, *, expected: str, fix: str) -> None:
        self.got, self.expected, self.fix = got, expected, fix
        super().__init__(f"{got}. Expected {expected}. {fix}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to make it anew: an error of a worker process comes back whole."""
        return partial(type(self), expected=self.expected, fix=self.fix), (self.got,), vars(self)


class ImageError(DenseclipVizError):
    """An image that cannot be read, or that would not be read rightly."""


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
    """A model name, tag or device that is not known."""


class UnsupportedTowerError(DenseclipVizError):
    """An image tower whose pooling this package does not know; a guess is never made."""


class RecompositionError(DenseclipVizError):
    """Contributions and rest do not sum to the embedding: the tower is not what it was taken for."""


class OutOfMemoryError(DenseclipVizError):
    """The machine or the GPU ran out of memory; the message names the knob that helps."""


class OutputError(DenseclipVizError):
    """A file that would be overwritten, or an ending that says nothing about the format."""
