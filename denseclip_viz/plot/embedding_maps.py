"""A map of embeddings: images or positions of a store in two dimensions, coloured by cosines or labels."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import PromptError
from denseclip_viz.features.feature_store import FeatureStore, Texts
from denseclip_viz.features.points import SEED, points_of
from denseclip_viz.features.projection import point_scores, project
from denseclip_viz.plot import scales
from denseclip_viz.plot.sheet import ENTRY, FAINT, GREY, MARGIN, SMALL, TINY, TITLE, Lattice, Sheet
from denseclip_viz.plot.text import plain
from denseclip_viz.prompts import Prompts
from denseclip_viz.validation import many, short, strings

HEAD, NAME, BAR, AXIS = 0.62, 0.2, 1.9, 0.2  # inches: above all, above a panel, the scale's bar, beside a panel
SIDES, COLUMNS, LEGEND = {1: 4.4, 2: 3.6}, 3, 1.9  # inches: of one panel, of two; 2.9 of more
HALO, UNLABELLED = "#8a8a8a", "#ffffff"  # around points, so that light ones are seen on paper; without a label
MOST_DOTS, PIXELS = 30_000, 900  # more points become pixels: a million dots take minutes
Codes = npt.NDArray[np.int64]
Labels = tuple[Codes, tuple[str, ...]]
"""Of each point the number of its label, -1 for none, and the names."""
Floats = npt.NDArray[np.floating[Any]]


@guarded
def embedding_map(
    store: FeatureStore,
    texts: Texts | None = None,
    prompts: str | Sequence[str] = (),
    *,
    layout: xr.Dataset | None = None,
    labels: Sequence[str] | None = None,
    template: str = "{}",
    absent: Sequence[str] = (),
    figure: Figure | None = None,
) -> Figure:
    """Draw a layout of a store's images or positions, coloured by the cosine with each prompt on one scale.

    What the two axes hold of the variance, and how many neighbours they keep, is written on the figure: distances in
    it are no cosines, colours are. Where points lie over each other, chance says which is on top. No forward pass is
    made.

    Args:
        store: A store of features.
        texts: The model that encoded the images, or vectors `(1, prompts + absent, D)`.
        prompts: What to colour by: a panel each.
        layout: What `features.project` returned; by default the principal components of the global embeddings.
        labels: One for each image of the store, or for each point, at most 20 in all; "" where there is none. A panel
            coloured by them comes first.
        template: How prompts are captions.
        absent: Prompts that are in none of the images: their highest cosine is the baseline on the scale.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.

    Raises:
        PromptError: nothing to colour by, vectors or labels that do not fit, or a prompt that comes twice.
        LayerError: another model, features that are not kept, or the layout of another store.
        ImageError: fewer than three images.

    Example:
        >>> import tempfile, denseclip_viz as dcv
        >>> model, scenes = dcv.load(), dcv.toyworld.dataset(6, "test", size=64)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = dcv.features.encode(model, scenes, folder, progress=False)
        ...     len(dcv.plot.embedding_map(store, model, ["a car", "a house"]).axes)
        3
    """
    prompts = strings(prompts, "prompts")
    if not prompts and labels is None:
        fix = 'For example embedding_map(store, model, ["a red car"]).'
        raise PromptError("Neither prompts nor labels", expected="something to colour points by", fix=fix)
    layout = project(store) if layout is None else layout
    scores = _scores(store, layout, texts, Prompts(prompts, template, absent=absent)) if prompts else None
    coded = None if labels is None else label_codes(store, layout, labels)
    return map_figure(layout, scores=scores, labels=coded, figure=figure)


def map_figure(
    layout: xr.Dataset,
    *,
    scores: xr.DataArray | None = None,
    labels: Labels | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw a layout by scores `(prompt, point)`, of which absent prompts are the baseline, and by labels."""
    prompts = [] if scores is None else list(map(str, scores["prompt"].to_numpy()))
    shown = (
        [] if scores is None else [text for text, absent in zip(prompts, scores["absent"], strict=True) if not absent]
    )
    heads, names = ["labels"] * (labels is not None) + shown, () if labels is None else labels[1]
    on = Sheet(layout.attrs, [*heads, *prompts, *names], figure=figure)
    columns, rows = min(COLUMNS, len(heads)), math.ceil(len(heads) / COLUMNS)
    side = SIDES.get(len(heads), 2.9)
    shape: dict[str, Any] = {"columns": columns, "rows": rows, "row_head": NAME, "gap": (0.2, 0.1 + AXIS)}
    lattice = Lattice(panel=(side, side), left=MARGIN + AXIS, top=on.top + HEAD, **shape)
    width = lattice.width + (LEGEND if names else 0)
    captions = [line for fact in facts(layout) for line in on.fit(fact, width=width - 2 * MARGIN, size=TINY, lines=9)]
    on.resize(width, lattice.height(lines=len(captions) + 1))
    for at, head in enumerate(heads):
        _head(on, lattice, at, head, layout)
    axes = [lattice.panel_at(on, *divmod(at, columns)) for at in range(len(heads))]
    if labels is not None:
        draw_points(axes[0], layout, labels[0], label_scale(len(names)))
        _legend(on, labels[0], names, width - LEGEND, lattice.top + NAME)
    if scores is not None:
        scale, baseline = score_scale(scores)
        for ax, values in zip(axes[-len(shown) :], scores[~scores["absent"].to_numpy()], strict=True):
            draw_points(ax, layout, values.to_numpy(), scale)
        bar = on.place(lattice.width - MARGIN - BAR, on.top + 0.26, BAR, 0.09)
        scales.draw_bar(bar, scale, opacity=1, baseline=baseline)
    on.title(on.fit(_title(layout), width=lattice.width - 2 * MARGIN - BAR, size=TITLE)[0])
    on.note(MARGIN, on.top + 0.22, _coloured(shown, labels is not None))
    on.footer(lattice.bottom, *captions)
    return on.figure


def facts(layout: xr.Dataset) -> list[str]:
    """Say what the points are, and what a layout keeps of them and what it does not: no figure goes without."""
    known, count = layout.attrs, layout.sizes["point"]
    images = many(len(np.unique(layout["number"].to_numpy())), "image")
    points = many(count, "position") + f" of {images}" if known["of"] == "dense" else images
    drawn = known["points_in_all"]
    sample = f", {count} of {drawn}, drawn at random (seed {known['seed']})" if drawn > count else ""
    what = f"dense features, {known['path']} path" if known["of"] == "dense" else "global embedding"
    held = f" The two axes hold {float(layout['share'].sum()):.1%} of the variance." if "share" in layout else ""
    k, judged = known["neighbours"], known["judged"]
    some = f", judged on {judged} points drawn at random" if judged < count else ""
    return [
        f"Points: {points}{sample}, each by its {what}; {known['projection']} of unit vectors.{held}"
        " Where some lie over others, chance says which is on top.",
        f"Distances here are not cosines: of a point's {k} nearest here {known['neighbours_kept']:.0%} are among"
        f" its {k} nearest by cosine (by chance {k / (judged - 1):.1%}); trustworthiness"
        f" {known['trustworthiness']:.2f} (by chance 0.50){some}.",
    ]


def axis_label(layout: xr.Dataset, axis: int) -> str:
    """Name an axis, 0 or 1, by what it holds where that is known."""
    if "share" not in layout:
        return f"axis {axis + 1} of {layout.attrs['projection']}, without a unit"
    return f"component {axis + 1}: {float(layout['share'][axis]):.1%} of the variance"


def score_scale(scores: xr.DataArray) -> tuple[scales.Scale, float | None]:
    """Make the scale of cosines `(prompt, point)`, and the baseline of absent prompts if there are any."""
    absent = scores["absent"].to_numpy()
    baseline = float(scores[absent].max()) if absent.any() else None
    return scales.of_view("dense", scores[~absent], also=[] if baseline is None else [baseline]), baseline


def label_codes(store: FeatureStore, layout: xr.Dataset, labels: Sequence[str]) -> Labels:
    """Give the labels of points as numbers of their names, which are sorted; -1 where there is none.

    Raises:
        PromptError: labels that do not fit, or more than are told apart.
    """
    listed = np.array(list(labels), dtype=object)
    if len(listed) == len(store):
        listed = listed[points_of(store, layout).numbers]
    count = layout.sizes["point"]
    if len(listed) != count or not all(isinstance(label, str) for label in listed):
        got, expected = f"{many(len(listed), 'label')}: {short(labels)}", f"a text for each of {many(count, 'point')}"
        raise PromptError(got, expected=expected, fix=f"Or one for each of the store's {many(len(store), 'image')}.")
    names, codes = np.unique(np.array(["", *listed], dtype=str), return_inverse=True)
    if len(names) - 1 > len(scales.PALETTE):
        got, expected = f"{len(names) - 1} labels", f"at most {len(scales.PALETTE)}, whose colours are told apart"
        raise PromptError(got, expected=expected, fix='Join some, or name those that matter and give the rest "".')
    return codes[1:].astype(np.int64) - 1, tuple(names[1:].tolist())


def label_scale(count: int) -> ListedColormap:
    """Make the colours of so many labels, the one of none first."""
    return ListedColormap([to_rgb(UNLABELLED), *map(scales.label_colour, range(count))])


def window(layout: xr.Dataset) -> tuple[npt.NDArray[np.float64], float]:
    """Give the middle and half the side of the square that is shown: one unit on both axes, and a margin."""
    places = layout["place"].to_numpy().astype(float)
    low, high = places.min(0), places.max(0)
    return (low + high) / 2, 0.54 * (float((high - low).max()) or 1.0)


def draw_points(ax: Axes, layout: xr.Dataset, values: Floats | Codes, colours: scales.Scale | ListedColormap) -> None:
    """Draw points on bare axes, in an order that chance gives, with a halo; as pixels where there are many."""
    order = np.random.default_rng(SEED).permutation(layout.sizes["point"])
    at, drawn = layout["place"].to_numpy()[order].astype(float), np.asarray(values, dtype=float)[order]
    look: dict[str, Any] = {"cmap": colours, "vmin": -1.5, "vmax": getattr(colours, "N", 0) - 1.5}
    if isinstance(colours, scales.Scale):
        look = {"cmap": colours.colours, "vmin": colours.low, "vmax": colours.high}
    middle, reach = window(layout)
    ax.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach), aspect="equal")
    ax.set_axis_on()
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(edgecolor=FAINT, linewidth=0.6)
    if len(at) <= MOST_DOTS:
        size = float(np.clip(5000 / len(at), 3, 34))
        x, y = at.T
        ax.scatter(x, y, s=(math.sqrt(size) + 1.1) ** 2, c=HALO, linewidths=0, rasterized=True)
        ax.scatter(x, y, s=size, c=drawn, linewidths=0, rasterized=True, gid="points", **look)
        return
    pixels = np.full((PIXELS, PIXELS), np.nan)
    column, row = ((at - middle) / reach * 0.5 + 0.5).clip(0, 1).T * (PIXELS - 1)
    pixels[row.round().astype(int), column.round().astype(int)] = drawn
    extent = (*ax.get_xlim(), *ax.get_ylim())
    ax.imshow(
        np.ma.masked_invalid(pixels), origin="lower", extent=extent, interpolation="nearest", gid="points", **look
    )


def _scores(store: FeatureStore, layout: xr.Dataset, texts: Texts | None, prompts: Prompts) -> xr.DataArray:
    if texts is None:
        got, fix = "Prompts without a model", "Pass the model that encoded the images: embedding_map(store, model, …)."
        raise PromptError(got, expected="a model, or vectors of the prompts", fix=fix)
    scores: xr.DataArray = point_scores(store, layout, texts, prompts)[0]
    return scores


def _coloured(prompts: Sequence[str], by_labels: bool) -> str:
    cosine = "cosine" + ", on one scale" * (len(prompts) > 1) if prompts else ""
    return "colour: " + " and ".join(filter(None, ["labels" * by_labels, cosine]))


def _title(layout: xr.Dataset) -> str:
    return "embedding map of positions" if layout.attrs["of"] == "dense" else "embedding map of images"


def _head(on: Sheet, lattice: Lattice, at: int, head: str, layout: xr.Dataset) -> None:
    """Write what a panel is coloured by, and at its left and below it what the axes are."""
    row, column = divmod(at, lattice.columns)
    side, left, top = lattice.panel[0], lattice.x(column), lattice.y(row)
    on.write(left, top, on.fit(head, width=side, size=SMALL + 1)[0], size=SMALL + 1)
    on.note(left, top + NAME + side + 0.06, axis_label(layout, 0))
    if column == 0:
        place = (left - 0.07) / on.width, on.at_height(top + NAME + side)
        on.figure.text(*place, axis_label(layout, 1), rotation=90, ha="right", va="bottom", **plain(SMALL, GREY))


def _legend(on: Sheet, codes: Codes, names: Sequence[str], left: float, top: float) -> None:
    for row, name in enumerate([*names, "no label"]):
        code = row if row < len(names) else -1
        if count := int((codes == code).sum()):
            colour = None if code < 0 else scales.label_colour(code)
            on.entry(left, top + row * ENTRY, name, colour, str(count), width=LEGEND - MARGIN, opacity=1)
