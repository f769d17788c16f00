"""Similarity maps side by side, templates against prompts, on one scale that is shown."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.images import ImageLike
from denseclip_viz.maps.regions import require_maps
from denseclip_viz.plot import panels, scales, select
from denseclip_viz.plot.sheet import GREY, INK, LINE, MARGIN, SMALL, Lattice, Sheet
from denseclip_viz.plot.text import isolated

Normalise = Literal["shared", "each"]

HEAD, LABEL = 0.54, 1.5  # inches: the title with its bar, and the column of row labels
SIDE, BAR = 1.35, 1.9  # inches: of a square panel, and the length of the bar
STRETCHED = "each map stretched from its own lowest to its own highest value: colours cannot be compared"


def grid(
    maps: xr.DataArray,
    *,
    rows: str = "template",
    cols: str = "prompt",
    template: str | None = None,
    image: ImageLike | None = None,
    normalise: Normalise = "shared",
    limits: tuple[float, float] | None = None,
    like: xr.DataArray | Sequence[xr.DataArray] = (),
    interpolation: panels.Interpolation = "bilinear",
    figure: Figure | None = None,
) -> Figure:
    """Draw similarity maps in rows and columns, on one colour scale in cosine units.

    Args:
        maps: Similarity (template, prompt, y, x), what `Model.similarity` returns; other axes than y and x
            may take their places, and an axis that was picked away counts as one row or column.
        rows: The axis that goes down.
        cols: The axis that goes across.
        template: The only template to show; to be named where there are several and neither axis is of them.
        image: What to draw beneath: the image that was traced, as for `trace`, or the trace; nothing by default.
        normalise: "shared", or "each" for a min-max of every map by itself, which the figure then says.
        limits: Lowest and highest value of the shared scale; what lies beyond has the colour of the end.
        like: Maps whose values the shared scale covers too, so that figures can be laid side by side.
        interpolation: "bilinear", or "nearest" to see the cells.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.

    Raises:
        PromptError: Axes that the maps do not have, or more than one value on an axis that is not shown.
        ImageError: Another normalisation or interpolation.
        LayerError: No maps, or a result of several kinds of them.

    Example:
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> trace = model.trace(dcv.toyworld.scene("a taxi on a road", 96))
        >>> maps = model.similarity(trace, dcv.Prompts(["a taxi", "a road"], ["{}", "a photo of {}"]))
        >>> [text.get_text() for text in dcv.plot.grid(maps, image=trace.image).texts][:3]
        ['dense', 'cosine', 'a taxi']
    """
    select.one_of(normalise, ("shared", "each"), name="normalise")
    maps, which = _of_template(require_maps(maps), rows, cols, template)
    table = _table(maps, rows, cols)
    row_names, column_names = ([str(name) for name in table[axis].to_numpy()] for axis in (rows, cols))
    attrs = {**maps.attrs, "path": ""} if "path" in (rows, cols) else maps.attrs  # they stand at rows or columns
    sheet = Sheet(attrs, [*row_names, *column_names], also=which, figure=figure)
    where = panels.placement(maps)
    panel = panels.panel_size(where, side=SIDE)
    heads = column_heads(sheet, column_names, max(panel[0], SIDE * 0.8), table, cols)
    top, left = sheet.top + HEAD + LINE * max(map(len, heads)), MARGIN + LABEL * any(row_names)
    shape = {"columns": len(column_names), "rows": len(row_names)}
    lattice = Lattice(panel=panel, top=top, left=left, least=SIDE * 0.8, gap=(0.12, 0.12), **shape)
    sheet.resize(max(lattice.width, 4.6), lattice.height(lines=1))
    scale, baseline = scale_of(table, normalise, limits, like)
    draw_title(sheet, table, scale, baseline, opacity=scales.OPACITY if image is not None else 1.0)
    write_heads(sheet, lattice, heads)
    _label_rows(sheet, lattice, select.names_along(table, rows))
    under = None if image is None else panels.reduced(image)
    for row, column in np.ndindex(lattice.rows, lattice.columns):
        values = table[row, column].to_numpy()
        values = stretched(values) if normalise == "each" else values
        ax = lattice.panel_at(sheet, row, column)
        panels.draw_map(ax, values, where, scale, image=under, interpolation=interpolation)
    sheet.footer(lattice.bottom)
    return sheet.figure


def _of_template(maps: xr.DataArray, rows: str, cols: str, template: str | None) -> tuple[xr.DataArray, str]:
    """Pick the template that is named, and say which is shown where no axis does; of several none is picked unasked."""
    is_shown = "template" in (rows, cols) or maps.sizes.get("template", 1) > 1
    return (maps, "") if template is None and is_shown else select.pick_template(maps, template)


def _table(maps: xr.DataArray, rows: str, cols: str) -> xr.DataArray:
    """Bring maps to (rows, cols, y, x)."""
    if rows == cols:
        raise PromptError(f"rows and cols are both {rows!r}", expected="two axes", fix="Leave one out for its default.")
    for axis in (rows, cols):
        if axis not in maps.dims:
            if axis not in maps.coords and axis not in ("template", "prompt"):
                got, fix = f"The maps have axes {', '.join(map(str, maps.dims))} and no {axis!r}", "Name two of them."
                raise PromptError(got, expected="rows and cols that are axes of the maps", fix=fix)
            maps = maps.expand_dims(axis) if axis in maps.coords else maps.expand_dims({axis: [""]})
    for other in [axis for axis in maps.dims if axis not in (rows, cols, "y", "x")]:
        if maps.sizes[other] > 1:
            raise PromptError(
                f"The axis {other!r} of the maps has {maps.sizes[other]} values",
                expected=f"one, since rows show {rows!r} and columns {cols!r}",
                fix=f"Pick one with maps.isel({other}=0); maps are never averaged silently.",
            )
        maps = maps.isel({other: 0})
    table: xr.DataArray = maps.transpose(rows, cols, "y", "x")
    return table


def column_heads(sheet: Sheet, names: list[str], width: float, table: xr.DataArray, cols: str) -> list[list[str]]:
    """Break the names of columns into lines, and say of absent prompts that they are."""
    heads = [sheet.fit(name, width=width, size=SMALL + 0.5, lines=3) for name in names]
    if cols == "prompt" and "absent" in table.coords:
        absent = np.atleast_1d(table["absent"].to_numpy())
        return [[*head, "(absent)"] if is_absent else head for head, is_absent in zip(heads, absent, strict=True)]
    return heads


def scale_of(
    table: xr.DataArray,
    normalise: Normalise,
    limits: tuple[float, float] | None,
    like: xr.DataArray | Sequence[xr.DataArray],
) -> tuple[scales.Scale, float | None]:
    """Make the scale of all maps, with the absent baseline on it; that of stretched maps has none."""
    others = [like] if isinstance(like, xr.DataArray) else list(like)
    if normalise == "each":
        if limits is not None or others:
            got, fix = "limits or like with normalise='each'", "Leave normalise out."
            raise ImageError(got, expected="a shared scale to set", fix=fix)
        return scales.Scale(0.0, 1.0, scales.SEQUENTIAL, "of its own range"), None
    baseline = select.absent_baseline(table)
    also = [] if baseline is None else [baseline]
    own = [scales.of_view("dense", maps, also=also) for maps in (table, *others)]
    return scales.limited(scales.covering(own), limits), baseline


def draw_title(
    sheet: Sheet, table: xr.DataArray, scale: scales.Scale, baseline: float | None, *, opacity: float
) -> None:
    """Write the name of maps with the bar of their scale."""
    sheet.title(str(table.name or "dense"))
    top, left = sheet.top, sheet.width - MARGIN - BAR
    note = "cosine" if scale.unit == "cosine" else STRETCHED
    for i, line in enumerate(sheet.fit(note, width=left - 2 * MARGIN, size=SMALL, lines=3)):
        sheet.note(MARGIN, top + 0.21 + i * LINE * 0.8, line)
    scales.draw_bar(sheet.place(left, top + 0.17, BAR, 0.09), scale, baseline=baseline, opacity=opacity)


def write_heads(sheet: Sheet, lattice: Lattice, heads: list[list[str]]) -> None:
    """Write the names of columns, which stand on their panels."""
    for column, head in enumerate(heads):
        for i, line in enumerate(reversed(head)):
            colour = GREY if line == "(absent)" and i == 0 else INK
            top = lattice.top - (i + 1) * LINE
            sheet.write(lattice.x(column), top, isolated(line), size=SMALL + 0.5, colour=colour)


def _label_rows(sheet: Sheet, lattice: Lattice, row_names: list[str]) -> None:
    for row, name in enumerate(row_names):
        for i, line in enumerate(sheet.fit(name, width=LABEL - 0.15, size=SMALL + 0.5, lines=4)):
            sheet.write(MARGIN, lattice.y(row) + i * LINE, isolated(line), size=SMALL + 0.5)


def stretched(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Bring a map to 0 … 1; a flat one is 0."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
