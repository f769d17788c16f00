"""One prompt along several dense paths: small multiples on one scale."""

from collections.abc import Sequence

import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.errors import ImageError, LayerError
from denseclip_viz.images import ImageLike
from denseclip_viz.plot import panels, scales, select
from denseclip_viz.plot.grid import HEAD, SIDE, Normalise, draw_title, scale_of, stretched
from denseclip_viz.plot.sheet import LINE, SMALL, Lattice, Sheet
from denseclip_viz.plot.text import isolated
from denseclip_viz.validation import is_whole


def paths(
    maps: xr.DataArray | xr.Dataset,
    *,
    prompt: str | None = None,
    template: str | None = None,
    rows: int = 2,
    image: ImageLike | None = None,
    normalise: Normalise = "shared",
    limits: tuple[float, float] | None = None,
    like: xr.DataArray | Sequence[xr.DataArray] = (),
    interpolation: panels.Interpolation = "bilinear",
    figure: Figure | None = None,
) -> Figure:
    """Draw one prompt along several paths, a panel each, on one colour scale in cosine units.

    `grid` puts paths beside prompts or templates: `grid(maps, rows="prompt", cols="path")`.

    Args:
        maps: What `Model.similarity` or `Model.compare` returns of a trace of several paths.
        prompt: Which prompt to show; the first by default.
        template: Which template to show; the first by default, never a mean.
        rows: How many rows panels are laid out in.
        image: What to draw beneath, as for `grid`; the image of a comparison by default.
        normalise: As for `grid`.
        limits: As for `grid`.
        like: As for `grid`.
        interpolation: As for `grid`.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.

    Raises:
        LayerError: Maps of one path.
        PromptError: A prompt or template that is not in the result.
        ImageError: Another normalisation or interpolation, or rows that cannot be.

    Example:
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> trace = model.trace(dcv.toyworld.scene("a taxi on a road", 96), path=["value", "vanilla"])
        >>> [text.get_text() for text in dcv.plot.paths(model.compare(trace, ["a taxi", "a road"])).texts][:4]
        ['a taxi', 'cosine', 'value', 'vanilla']
    """
    select.one_of(normalise, ("shared", "each"), name="normalise")
    if not is_whole(rows, 1):
        raise ImageError(f"rows={rows!r}", expected="a whole number of at least 1", fix="Try rows=2.")
    table, which = _along_paths(maps, prompt, template)
    under = image if image is not None or isinstance(maps, xr.DataArray) else maps.get("image")
    names = [str(name) for name in table["path"].to_numpy()]
    sheet = Sheet({**maps.attrs, "path": ""}, [*names, str(table.name)], also=which, figure=figure)
    where = panels.placement(maps)
    panel = panels.panel_size(where, side=SIDE)
    least = max(panel[0], SIDE * 0.8)
    heads = [sheet.fit(name, width=least, size=SMALL + 0.5, lines=2) for name in names]
    shape = {"rows": min(rows, len(names)), "columns": -(-len(names) // rows)}
    top, row_head = sheet.top + HEAD + LINE, LINE * max(map(len, heads)) + 0.04
    lattice = Lattice(panel=panel, top=top, least=least, row_head=row_head, gap=(0.12, 0.12), **shape)
    sheet.resize(max(lattice.width, 4.6), lattice.height(lines=1))
    scale, _ = scale_of(table, normalise, limits, like)
    draw_title(sheet, table, scale, None, opacity=1.0 if under is None else scales.OPACITY)
    beneath = None if under is None else panels.reduced(under)
    for at, lines in enumerate(heads):
        row, column = divmod(at, lattice.columns)
        for line, text in enumerate(lines):
            sheet.write(lattice.x(column), lattice.y(row) + line * LINE, isolated(text), size=SMALL + 0.5)
        values = table[at].to_numpy()
        values = stretched(values) if normalise == "each" else values
        ax = lattice.panel_at(sheet, row, column)
        panels.draw_map(ax, values, where, scale, image=beneath, interpolation=interpolation)
    sheet.footer(lattice.bottom)
    return sheet.figure


def _along_paths(maps: xr.DataArray | xr.Dataset, prompt: str | None, template: str | None) -> tuple[xr.DataArray, str]:
    """Keep one prompt in one template, `(path, y, x)`, named as the prompt; and say which template it is."""
    dense = maps["dense"] if isinstance(maps, xr.Dataset) and "dense" in maps else maps
    if not isinstance(dense, xr.DataArray) or "path" not in dense.dims:
        got, fix = f"A {type(maps).__name__} without an axis path", 'Trace with path=["value", "sclip"], say.'
        raise LayerError(got, expected="maps along several paths", fix=fix)
    one, which = select.pick_template(dense, template)
    one = select.pick_prompts(one, prompt).isel(prompt=0) if "prompt" in one.dims or prompt else one
    title = select.names_along(one)[0] if "prompt" in one.coords else str(one.name)
    return one.drop_vars("absent", errors="ignore").transpose("path", "y", "x").rename(title), which
