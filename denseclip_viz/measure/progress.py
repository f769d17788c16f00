"""Long work over many images: bars where somebody can see them, and what belongs to each image kept beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from denseclip_viz.errors import ImageError
    from denseclip_viz.model import Model
    from denseclip_viz.trace import Trace

T = TypeVar("T")

Advance = Callable[[int, int], object]
"""Called with (done, in all)."""


@contextmanager
def bar(what: str, *, wanted: bool, total: int | None = None) -> Iterator[Advance]:
    """Show how far something is; nothing is shown before it begins, nor where nobody looks.

    Args:
        what: What is counted.
        wanted: Whether to show anything at all.
        total: How much there is, if that is known before.

    Yields:
        What to call with (done, in all).

    Example:
        >>> with bar("texts", wanted=False) as said:
        ...     said(1, 2)
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    visible = wanted and (console.is_terminal or console.is_jupyter)
    with Progress(console=console, disable=not visible) as shown:
        task = shown.add_task(what, total=total, visible=total is not None)

        def advance(done: int, every: int) -> None:
            shown.update(task, completed=done, total=every or None, visible=True)

        yield advance


def traced_beside(
    model: Model, images: Iterable[tuple[Any, T]], unreadable: Callable[[Any, ImageError], object], **options: Any
) -> Iterator[tuple[T, Trace]]:
    """Trace images that each have something beside them, and give each trace with that; memory stays bounded.

    Args:
        model: A loaded model.
        images: Each with what belongs to it: a path, its masks.
        unreadable: As for `Model.trace_many`; the image is left out, and what is beside it too.
        **options: As for `Model.trace_many`.
    """
    waiting: deque[T] = deque()

    def feed() -> Iterator[Any]:
        for image, beside in images:
            waiting.append(beside)
            yield image

    def left_out(image: Any, error: ImageError) -> None:
        waiting.pop()  # an image is read before the next one is fed
        unreadable(image, error)

    for trace in model.trace_many(feed(), unreadable=left_out, **options):
        yield waiting.popleft(), trace
