"""Attributions side by side: methods go down, prompts across, each method on a scale of its own."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.errors import LayerError
from denseclip_viz.images import ImageLike
from denseclip_viz.plot import panels, scales, select
from denseclip_viz.plot.grid import column_heads, write_heads
from denseclip_viz.plot.scales import Scale
from denseclip_viz.plot.sheet import LINE, MARGIN, SMALL, Lattice, Sheet
from denseclip_viz.plot.text import isolated

SIDE, LABEL, BAR = 1.35, 1.75, 1.35  # inches: of a square panel, of the column that names methods, of their bars
HEAD = 0.44  # inches: the title and what scales mean
ABOUT = "each method has a scale of its own: colours are compared within a row"


def attributions(
    maps: xr.DataArray,
    *,
    image: ImageLike | None = None,
    prompt: str | Sequence[str] | None = None,
    template: str | None = None,
    interpolation: panels.Interpolation = "bilinear",
    figure: Figure | None = None,
) -> Figure:
    """Draw attributions of prompts, a row for each method, in its own units and with its own bar.

    A row is on one scale for all prompts, from 0, or around 0 where a method is signed: so a prompt that is not there
    looks as weak as it is.

    Args:
        maps: What `attribution.attribute` returns.
        image: What to draw beneath: the image that was traced, as for `trace`, or the trace; nothing by default.
        prompt: The prompts to show; all by default.
        template: Which template; the first by default, never a mean.
        interpolation: "bilinear", or "nearest" to see the cells.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.

    Raises:
        LayerError: Maps without methods.
        PromptError: A prompt or template that is not in the maps.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scene = dcv.load(), dcv.toyworld.scene("a taxi on a road", 96)
        >>> maps = dcv.attribution.attribute(model, scene, ["a taxi", "a road"], ["grad-cam", "relevance"])
        >>> [text.get_text() for text in dcv.plot.attributions(maps).texts][:1]
        ['attributions of the global score']
    """
    if not isinstance(maps, xr.DataArray) or "candidate" not in maps.dims:
        got = f"A {type(maps).__name__} without an axis candidate"
        raise LayerError(got, expected="what attribution.attribute returns", fix="Pick methods with a list.")
    one, which = select.pick_template(maps, template)
    shown = select.pick_prompts(one, prompt).transpose("candidate", "prompt", "y", "x")
    names, prompts = ([str(name) for name in shown[axis].to_numpy()] for axis in ("candidate", "prompt"))
    sheet = Sheet(maps.attrs, [*names, *prompts], also=which, figure=figure)
    where = panels.placement(maps)
    panel = panels.panel_size(where, side=SIDE)
    heads = column_heads(sheet, prompts, max(panel[0], SIDE * 0.8), shown, "prompt")
    top = sheet.top + HEAD + LINE * max(map(len, heads))
    lattice = Lattice(
        panel=panel,
        columns=len(prompts),
        rows=len(names),
        top=top,
        left=MARGIN + LABEL,
        least=SIDE * 0.8,
        gap=(0.12, 0.12),
    )
    sheet.resize(max(lattice.width, 5.4), lattice.height(lines=1))
    sheet.title("attributions of the global score")
    sheet.note(MARGIN, sheet.top + 0.21, sheet.fit(ABOUT, width=sheet.width - 2 * MARGIN, size=SMALL)[0])
    write_heads(sheet, lattice, heads)
    under = None if image is None else panels.reduced(image)
    for row in range(len(names)):
        _draw_row(sheet, lattice, row, shown.isel(candidate=row), under, interpolation)
    sheet.footer(lattice.bottom)
    return sheet.figure


def scale_of(maps: xr.DataArray) -> Scale:
    """Make the scale of one method's maps: around 0 where they are signed, from 0 where they are not."""
    unit = str(maps["unit"].item()) if "unit" in maps.coords else ""
    if bool((maps < 0).any()):
        return scales.diverging(maps, unit=unit)
    return scales.sequential(maps, unit=unit, also=[0.0])


def _draw_row(
    sheet: Sheet,
    lattice: Lattice,
    row: int,
    maps: xr.DataArray,
    image: npt.NDArray[np.uint8] | None,
    interpolation: panels.Interpolation,
) -> None:
    """Draw one method: its name, unit and bar, and the map of each prompt."""
    scale, top = scale_of(maps), lattice.y(row)
    for i, line in enumerate(sheet.fit(str(maps["candidate"].item()), width=LABEL - 0.2, size=SMALL + 1, lines=2)):
        sheet.write(MARGIN, top + i * LINE, isolated(line), size=SMALL + 1, weight="bold")
        below = top + (i + 1) * LINE
    sheet.note(MARGIN, below + 0.02, scale.unit)
    opacity = scales.OPACITY if image is not None else 1.0
    scales.draw_bar(sheet.place(MARGIN, below + 0.24, BAR, 0.08), scale, opacity=opacity)
    for column in range(lattice.columns):
        values, ax = maps.isel(prompt=column), lattice.panel_at(sheet, row, column)
        where = panels.placement(maps)
        panels.draw_map(ax, values, where, scale, image=image, interpolation=interpolation)
