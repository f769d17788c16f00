"""Long work over many images: bars where somebody can see them, warnings that name the line that asked."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from denseclip_viz import arguments
from denseclip_viz.clip.preparation import nothing
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import OutputError
from denseclip_viz.validation import is_on

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

    is_watched = sys.stderr.isatty() or tqdm.auto.notebook_tqdm is not tqdm.std.tqdm
    visible = is_on(wanted, "progress", error=OutputError) and is_watched
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


@guarded
def traced_beside(
    model: Model,
    groups: Iterable[Iterable[tuple[Any, Beside]]],
    unreadable: Callable[[Beside, ImageError], object],
    first: Callable[[Beside], object] = nothing,
    **options: Any,
) -> Generator[tuple[Beside, Trace]]:
    """Trace images that each have something beside them, and give each trace with that; memory stays bounded.

    Images of two groups never share a forward pass. All groups are one stream: while the model is at work on one, the
    next is asked for and its images are prepared.

    An image that cannot be read is left out: `unreadable` is called with what is beside it, and the error. So is one
    for which `first` raises an `ImageError`: it is called with what is beside the image before that is read, there too.
    Options are those of `Model.trace_many`.
    """
    waiting: dict[int | None, Beside] = {}
    places = itertools.count()

    def fed(group: Iterable[tuple[Any, Beside]]) -> Iterator[Any]:
        for image, beside in group:
            waiting[next(places)] = beside
            yield arguments.refuse_trace(image)

    def left_out(_: Any, error: ImageError) -> None:
        unreadable(waiting.pop(error.place), error)

    tracing = arguments.tracing(model.tower, model.preprocess, model.provenance, model.checked, **options)
    for trace in tracing.traces(map(fed, groups), left_out, lambda place: first(waiting[place])):
        yield waiting.pop(trace.place), trace
