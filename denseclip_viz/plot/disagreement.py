"""Where templates disagree about a prompt, over the image."""

import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.errors import PromptError
from denseclip_viz.images import ImageLike
from denseclip_viz.maps.regions import require_maps
from denseclip_viz.plot import panels, scales, select
from denseclip_viz.plot.sheet import LINE, MARGIN, SMALL, Lattice, Sheet
from denseclip_viz.plot.text import isolated

SIDE, BAR, HEAD, LEAST, WIDEST = 1.5, 1.9, 0.6, 1.2, 10.0  # inches


def disagreement(
    maps: xr.DataArray,
    *,
    image: ImageLike | None = None,
    interpolation: panels.Interpolation = "bilinear",
    figure: Figure | None = None,
) -> Figure:
    """Draw where templates disagree: the standard deviation over templates of each prompt's cosine, on one scale.

    Args:
        maps: Similarity (template, prompt, y, x), or what `measure.disagreement` returns (prompt, y, x).
        image: What to draw beneath: the image that was traced, as for `trace`, or the trace; nothing by default.
        interpolation: "bilinear", or "nearest" to see the cells.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.

    Raises:
        PromptError: one template only, or other axes.
        LayerError: no maps.

    Example:
        >>> import denseclip_viz as dcv
        >>> prompts = dcv.Prompts(["a taxi", "a road"], ["{}", "a photo of {}"])
        >>> maps = dcv.load().similarity(dcv.toyworld.scene("a taxi on a road", 128), prompts)
        >>> len(dcv.plot.disagreement(maps).axes)
        3
    """
    from denseclip_viz.measure.template_table import disagreement as spread_of

    maps = require_maps(maps)
    spread = spread_of(maps) if "template" in maps.dims else maps
    if set(spread.dims) != {"prompt", "y", "x"}:
        got, fix = f"Axes {', '.join(map(str, maps.dims))}", "Pass what model.similarity returns."
        raise PromptError(got, expected="(template, prompt, y, x) or (prompt, y, x)", fix=fix)
    spread = spread.transpose("prompt", "y", "x")
    names = select.names_along(spread)
    on, where = Sheet(spread.attrs, names, figure=figure), panels.placement(spread)
    panel = panels.panel_size(where, side=SIDE)
    slot = max(panel[0], LEAST)
    heads = [on.fit(name, width=slot, size=SMALL + 0.5, lines=2) for name in names]
    columns = min(len(names), max(1, int(WIDEST / (slot + 0.14))))
    shape = {"columns": columns, "rows": -(-len(names) // columns)}
    row_head = LINE * max(map(len, heads)) + 0.04
    lattice = Lattice(panel=panel, top=on.top + HEAD, least=LEAST, row_head=row_head, gap=(0.14, 0.12), **shape)
    beside = 2 * MARGIN + on.width_of(_subtitle(spread), size=SMALL) + 0.2 + BAR
    on.resize(max(lattice.width, beside), lattice.height(lines=1))
    on.title("where templates disagree")
    on.note(MARGIN, on.top + 0.22, _subtitle(spread))
    scale = scales.sequential(spread, unit="cosine", colours=scales.ATTENTION, also=[0.0])
    opacity = 1.0 if image is None else scales.OPACITY
    scales.draw_bar(on.place(on.width - MARGIN - BAR, on.top + 0.1, BAR, 0.09), scale, opacity=opacity)
    under = None if image is None else panels.reduced(image)
    for at, head in enumerate(heads):
        row, column = divmod(at, columns)
        for line, text in enumerate(head):
            on.write(lattice.x(column), lattice.y(row) + line * LINE, isolated(text), size=SMALL + 0.5)
        ax = lattice.panel_at(on, row, column)
        panels.draw_map(ax, spread[at].to_numpy(), where, scale, image=under, interpolation=interpolation)
    on.footer(lattice.bottom)
    return on.figure


def _subtitle(spread: xr.DataArray) -> str:
    count = f" {spread.attrs['templates']}" if "templates" in spread.attrs else ""
    centred = ", each map less its own mean" if spread.attrs.get("centred") else ""
    return f"standard deviation over{count} templates{centred} · cosine"
