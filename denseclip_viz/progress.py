"""Long work over many images: bars where somebody can see them, warnings that name the line that asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from denseclip_viz.errors import ImageError
    from denseclip_viz.model import Model
    from denseclip_viz.trace import Trace

Beside = TypeVar("Beside")

Advance = Callable[[int, int], object]
"""Called with (done, in all)."""


@contextmanager
def bar(what: str, *, wanted: bool, total: int | None = None) -> Iterator[Advance]:
    """Show how far something is, of a total if that is known; nothing before it begins, nor where nobody looks.

    Example:
        >>> with bar("texts", wanted=False) as advance:
        ...     advance(1, 2)
    """
    import tqdm.auto

    visible = wanted and (sys.stderr.isatty() or tqdm.auto.notebook_tqdm is not tqdm.std.tqdm)
    shown = None

    def advance(done: int, every: int) -> None:
        nonlocal shown
        if shown is None:
            shown = tqdm.auto.tqdm(desc=what, total=every or total, disable=not visible)
        shown.update(done - shown.n)

    try:
        yield advance
    finally:
        if shown is not None:
            shown.close()


def traced_beside(
    model: Model,
    images: Iterable[tuple[Any, Beside]],
    unreadable: Callable[[Beside, ImageError], object],
    **options: Any,
) -> Iterator[tuple[Beside, Trace]]:
    """Trace images that each have something beside them, and give each trace with that; memory stays bounded.

    An image that cannot be read is left out: `unreadable` is called with what is beside it, and the error. Options are
    those of `Model.trace_many`.
    """
    waiting: dict[int | None, Beside] = {}

    def feed() -> Iterator[Any]:
        for place, (image, beside) in enumerate(images):
            waiting[place] = beside
            yield image

    def left_out(_: Any, error: ImageError) -> None:
        unreadable(waiting.pop(error.place), error)

    for trace in model.trace_many(feed(), unreadable=left_out, **options):
        yield waiting.pop(trace.place), trace
