"""A contact sheet: one prompt's maps of many images on one scale, the image in which it is highest first."""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.features.feature_store import FeatureStore, Texts
from denseclip_viz.features.image_search import lowest, search
from denseclip_viz.geometry import Placement
from denseclip_viz.plot import panels, scales
from denseclip_viz.plot.sheet import BOLD, GREY, INK, LINE, MARGIN, SMALL, TITLE, Lattice, Sheet
from denseclip_viz.plot.text import number
from denseclip_viz.prompts import Prompts
from denseclip_viz.validation import is_whole, many

SIDE, HEAD, NAME, BAR = 1.35, 0.62, 0.19, 1.9  # inches: a panel, above all, above a panel, the scale's bar
COLUMNS = 8


def contact_sheet(
    store: FeatureStore,
    texts: Texts,
    prompt: str,
    *,
    template: str = "{}",
    absent: Sequence[str] = (),
    articles: str = "as written",
    path: str | None = None,
    page: int = 1,
    per_page: int = 40,
    figure: Figure | None = None,
) -> Figure:
    """Draw the maps of one prompt in all images of a store, sorted by their peaks, on one colour scale.

    The scale reaches from the lowest to the highest cosine in the whole store, so that pages can be compared. Images
    are read from their files; where one is gone, its map stands alone. No forward pass is made.

    Args:
        store: A store with dense features.
        texts: The model that encoded the images, or vectors `(1, 1 + absent, D)` of the prompt and the absent ones.
        prompt: What to look for.
        template: How it is said.
        absent: Prompts that are in none of the images: their highest cosine in the store is the baseline, and images
            whose peak is no higher are named in grey.
        articles: In the template, as for `Prompts`: "as written", or "right".
        path: Whose dense features; the first path's by default.
        page: Which page, from 1.
        per_page: Images on a page.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.

    Raises:
        PromptError: a page that there is not, or vectors that do not fit.
        LayerError: another model, a store without dense features, or more panels than can be drawn.

    Example:
        >>> import tempfile, denseclip_viz as dcv
        >>> model, scenes = dcv.load(), [dcv.toyworld.scene(text, size=128) for text in ("a taxi", "a house")]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = dcv.features.encode(model, scenes, folder, progress=False)
        ...     len(dcv.plot.contact_sheet(store, model, "a taxi").axes)
        3
    """
    prompts = Prompts([prompt], template, absent=absent, articles=articles)
    shown, pages = _page(page, per_page, len(store))
    hits = search(store, texts, prompts, k=len(store), by="dense", path=path).isel(template=0)
    baseline = float(hits.score[1:].max()) if any(prompts.absent) else None
    scale = _scale(store, texts, prompts, hits, baseline, path)
    mine = hits.isel(prompt=0, rank=shown)
    about = {**store.provenance, "caution": store.caution_of(mine.number.values.tolist())}
    on = Sheet(about, [prompt, *mine.image.values.tolist()], figure=figure)
    columns = min(COLUMNS, max(4, len(shown)))
    rows = math.ceil(len(shown) / columns)
    shape: dict[str, Any] = {"columns": columns, "rows": rows, "row_head": NAME, "gap": (0.12, 0.1)}
    lattice = Lattice(panel=(SIDE, SIDE), top=on.top + HEAD, **shape)
    grey = "" if baseline is None else "grey: nowhere higher than the absent prompts are somewhere in the store"
    on.resize(lattice.width, lattice.height(lines=1 + bool(grey)))
    ranks = many(len(store), "image")
    if pages > 1:
        ranks = f"{shown[0] + 1}–{shown[-1] + 1} of {ranks}, page {page} of {pages}"
    _head(on, prompts, scale, baseline, ranks)
    for place, (which, score) in enumerate(zip(mine.number.values.tolist(), mine.score.values.tolist(), strict=True)):
        row, column = divmod(place, columns)
        left, top = lattice.x(column), lattice.y(row)
        _name(on, left, top, store.names[which], score, is_low=baseline is not None and score <= baseline)
        maps = store.similarity(which, texts, prompts).isel(template=0, prompt=0)
        values = maps if "path" not in maps.dims else maps.sel(path=path or store.paths[0])
        where = panels.placement(maps)
        under = _image(store, which, where)
        panels.draw_map(lattice.panel_at(on, row, column), values, where, scale, image=under)
    on.footer(lattice.bottom, grey)
    return on.figure


def _page(page: int, per_page: int, count: int) -> tuple[range, int]:
    """Say which ranks a page shows, from 0, and how many pages there are."""
    if not is_whole(per_page, 1):
        raise PromptError(f"per_page={per_page!r}", expected="a whole number of images", fix="Try per_page=40.")
    pages = math.ceil(count / per_page)
    if not is_whole(page, 1) or page > pages:
        got, expected = f"page={page!r} of {many(count, 'image')}", f"a page from 1 to {pages}"
        raise PromptError(got, expected=expected, fix="Pages are counted from 1.")
    return range(count)[(page - 1) * per_page : page * per_page], pages


def _scale(
    store: FeatureStore, texts: Texts, prompts: Prompts, hits: xr.Dataset, baseline: float | None, path: str | None
) -> scales.Scale:
    vectors = store.vectors(texts, prompts)[0, :1]
    ends = [lowest(store, vectors, path), float(hits.score[0, 0])]
    return scales.of_view("dense", np.array(ends), also=[] if baseline is None else [baseline])


def _head(on: Sheet, prompts: Prompts, scale: scales.Scale, baseline: float | None, what: str) -> None:
    text = prompts.texts[0][0]
    room = on.width - 2 * MARGIN
    on.title(on.fit(text, width=room / BOLD, size=TITLE)[0])
    on.note(MARGIN, on.top + 0.22, "cosine, by peak")
    on.note(MARGIN, on.top + 0.22 + LINE, what)
    scales.draw_bar(on.place(on.width - MARGIN - BAR, on.top + 0.26, BAR, 0.09), scale, baseline=baseline)


def _name(on: Sheet, left: float, top: float, name: str, score: float, *, is_low: bool) -> None:
    tail, colour = number(score, 3), GREY if is_low else INK
    room = SIDE - on.width_of(tail, size=SMALL) - 0.08
    on.write(left, top + 0.03, on.fit(name, width=room, size=SMALL)[0], size=SMALL, colour=colour)
    on.write(left + SIDE, top + 0.03, tail, size=SMALL, colour=colour, align="right")


def _image(store: FeatureStore, which: int, where: Placement) -> Any:
    with suppress(ImageError):
        return panels.reduced(store.read_image(which))
    shape = [max(1, round(32 * side / max(where.image))) for side in where.image]
    return np.full((*shape, 3), 176, np.uint8)  # softened it is the grey behind the bar: a map still says where
