"""Canvases that move together in the browser."""

import uuid

from denseclip_viz.canvas.widget import Canvas
from denseclip_viz.errors import LayerError, OutputError
from denseclip_viz.validation import is_on


def link(first: Canvas, second: Canvas, *more: Canvas, one_scale: bool = True) -> None:
    """Let canvases move together: pointing, pins, prompt, template, view and looks. The kernel is not needed for it.

    Names that one of them does not have leave it as it is; cells are matched by their place in the image.

    Args:
        first: A canvas; of an explorer pass `explorer.canvas`.
        second: Another one.
        *more: More of them.
        one_scale: Draw what is of one model on the same scales from now on, so that colours can be compared; each
            canvas keeps its own with False, and different models keep their own in any case.

    Raises:
        LayerError: One of them is no canvas; then none is linked.
        OutputError: `one_scale` is no yes or no.

    Example:
        >>> import denseclip_viz as dcv
        >>> left, right = dcv.Canvas(), dcv.Canvas()
        >>> dcv.link(left, right)
    """
    canvases, name = (first, second, *more), uuid.uuid4().hex
    one_scale = is_on(one_scale, "one_scale", error=OutputError)
    for canvas in canvases:
        if not isinstance(canvas, Canvas):
            got = f"An object of type {type(canvas).__name__} cannot be linked"
            raise LayerError(got, expected="canvases", fix="Of an explorer pass its canvas: explorer.canvas.")
    for canvas in canvases:
        canvas._links = [*canvas._links, name]
    if one_scale:
        group = list(dict.fromkeys(other for canvas in canvases for other in canvas._on_one_scale))
        for canvas in group:
            canvas._on_one_scale = group
            canvas._rescale()
