"""The main figure: image, dense map, contributions, attention and gap, one row for each prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.geometry import Placement
from denseclip_viz.maps.regions import require
from denseclip_viz.plot import panels, scales, select
from denseclip_viz.plot.scales import Scale
from denseclip_viz.plot.sheet import MARGIN, SMALL, TITLE, Lattice, Sheet, in_common

QUESTIONS = {
    "dense": "where does the text live?",
    "contribution": "what made the score?",
    "attention": "where did the pooling look?",
    "gap": "+ less than evenly · − more",
}
DRAWN = [*QUESTIONS, "score", "image"]
CAPTION = "× peak of dense   ○ peak of contribution"
FADED = "   faded: not seen by the model"
SIDE = 1.62  # inches: of a square panel
NARROWEST = 1.5  # inches: of a column
HEAD, ROW_HEAD = 0.9, 0.29  # inches: titles with their bars, and the line above each row


def compare(
    both: xr.Dataset | Sequence[xr.Dataset],
    *,
    prompts: str | Sequence[str] | None = None,
    template: str | None = None,
    limits: scales.Limits = None,
    like: xr.Dataset | Sequence[xr.Dataset] = (),
    figure: Figure | None = None,
    interpolation: panels.Interpolation = "bilinear",
) -> Figure:
    """Draw global against dense: image | dense | contribution | attention | gap, one row for each prompt.

    Each column has one colour scale for all rows, shown above it: dense and contribution in cosine units,
    attention as weight per cell, gap in cosine units. The highest dense cosine of the prompts known to
    be absent stands on the dense bar. Rows are headed by prompt and global score, and by the image where there
    are several.

    Args:
        both: What `Model.compare` returns, or several of them: one image below the other, on the same scales.
        prompts: Which prompts to show, in this order; all by default.
        template: Which template to show; the first by default, never a mean.
        limits: Lowest and highest value of the dense scale, or of any: `{"dense": (0, 0.4), "gap": (-0.1, 0.1)}`.
            What lies beyond has the colour of the end, and the bar says so.
        like: Results whose values the scales cover too, so that figures can be laid side by side: give all of them
            the same list.
        figure: An empty figure to draw into; its size is set. A new one by default, unknown to pyplot.
        interpolation: "bilinear", or "nearest" to see the cells.

    Returns:
        The figure.

    Raises:
        PromptError: A prompt or template that is not in the result.
        LayerError: Not a comparison.
        ImageError: Another interpolation.

    Example:
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> trace = model.trace(dcv.toyworld.scene("a taxi on a road", 96))
        >>> both = model.compare(trace, ["a taxi", "a road"])
        >>> figure = dcv.plot.compare(both)
        >>> [text.get_text() for text in figure.texts if text.get_text() in both]
        ['image', 'dense', 'contribution', 'attention', 'gap']
    """
    several = select.listed(both)
    parts = [_pick(one, prompts, template, title) for one, title in zip(several, _titles(several), strict=True)]
    names = [f"{part.title}{name}" for part in parts for name in part.whole["prompt"].to_numpy()]
    which = " · ".join(dict.fromkeys(part.which for part in parts))
    sheet = Sheet(in_common([one.attrs for one in several]), names, also=which, figure=figure)
    panel, top = _panel_size(parts), sheet.top + HEAD
    rows = [(part, row) for part in parts for row in range(part.shown.sizes["prompt"])]
    lattice = Lattice(panel=panel, columns=5, rows=len(rows), top=top, least=NARROWEST, row_head=ROW_HEAD)
    sheet.resize(lattice.width, lattice.height(lines=2))
    known = [select.absent_baseline(part.whole["dense"]) for part in parts]
    baseline = max((value for value in known if value is not None), default=None)
    each = _scales(parts, like, limits, baseline)
    _draw_answer(sheet, lattice, [part.whole for part in parts])
    for column, (name, scale) in enumerate(each.items(), start=1):
        _draw_head(sheet, lattice, column, name, scale, baseline if name == "dense" else None)
    for at, (part, row) in enumerate(rows):
        _draw_row(sheet, lattice, at, part, part.shown.isel(prompt=row), each, interpolation)
    sheet.footer(lattice.bottom, CAPTION + FADED * any(part.where.is_cropped for part in parts))
    return sheet.figure


@dataclass(frozen=True, eq=False)
class _Part:
    """What a figure shows of one result: all of one template, the prompts asked for, what heads its rows."""

    whole: xr.Dataset
    shown: xr.Dataset
    which: str
    where: Placement
    title: str


def _pick(both: xr.Dataset, prompts: str | Sequence[str] | None, template: str | None, title: str) -> _Part:
    both = _require(both)
    one, which = select.pick_template(both, template)
    return _Part(one, select.pick_prompts(one, prompts), which, panels.placement(both), title)


def _require(both: xr.Dataset) -> xr.Dataset:
    both = require(both, DRAWN, made_by="model.compare(trace, prompts)")
    select.require_one_path(both)
    return both


def _titles(several: Sequence[xr.Dataset]) -> list[str]:
    """Name the image of each of several results, and its model where they differ."""
    if len(several) < 2:
        return [""] * len(several)
    for both in several:
        _require(both)
    models = [str(both.attrs.get("model", "")) for both in several]
    names = [str(both.attrs.get("image_name", "")) or f"image {i}" for i, both in enumerate(several, start=1)]
    if len(set(models)) > 1:
        names = [f"{name}, {model}" for name, model in zip(names, models, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} ({i})" for i, name in enumerate(names, start=1)]
    return [f"{name}: " for name in names]


def _panel_size(parts: Sequence[_Part]) -> tuple[float, float]:
    sizes = [panels.panel_size(part.where, side=SIDE) for part in parts]
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _scales(
    parts: Sequence[_Part], like: xr.Dataset | Sequence[xr.Dataset], limits: scales.Limits, baseline: float | None
) -> dict[str, Scale]:
    """Make the scale of each view: for all that is shown, what it is to be compared with, and the absent baseline."""
    others = [] if isinstance(like, list | tuple) and not like else select.listed(like)
    for other in others:
        _require(other)
    chosen, each = scales.limits_by_view(limits), {}
    for name in QUESTIONS:
        also = [] if baseline is None or name != "dense" else [baseline]
        own = [scales.of_view(name, one[name], also=also) for one in (*(part.shown for part in parts), *others)]
        each[name] = scales.limited(scales.covering(own), chosen.get(name))
    return each


def _draw_answer(sheet: Sheet, lattice: Lattice, several: Sequence[xr.Dataset]) -> None:
    """Head the image with the prompt that the pooled embedding is closest to, of all that are not absent."""
    left, top = lattice.x(0), lattice.top - HEAD
    sheet.write(left, top, "image", size=TITLE, weight="bold")
    if len(several) > 1:
        sheet.note(left, top + 0.21, f"{len(several)} images, one scale a column")
        return
    [one] = several
    if "absent" in one.coords:
        one = one.isel(prompt=np.flatnonzero(~one["absent"].to_numpy()))
    if not one.sizes["prompt"]:
        return
    best = one.isel(prompt=int(one["score"].argmax("prompt")))
    sheet.note(left, top + 0.21, "CLIP’s one answer:")
    answer = sheet.scored(str(best["prompt"].item()), float(best["score"]), width=lattice.slot, size=SMALL + 1)
    sheet.write(left, top + 0.36, answer, size=SMALL + 1)


def _draw_head(sheet: Sheet, lattice: Lattice, column: int, name: str, scale: Scale, baseline: float | None) -> None:
    left, top = lattice.x(column), lattice.top - HEAD
    sheet.write(left, top, name, size=TITLE, weight="bold")
    sheet.note(left + lattice.slot, top + 0.045, scale.unit, align="right")
    sheet.note(left, top + 0.21, QUESTIONS[name])
    scales.draw_bar(sheet.place(left, top + 0.53, lattice.slot, 0.09), scale, baseline=baseline)


def _draw_row(
    sheet: Sheet,
    lattice: Lattice,
    row: int,
    part: _Part,
    one: xr.Dataset,
    each: Mapping[str, Scale],
    interpolation: panels.Interpolation,
) -> None:
    top, note, where = lattice.y(row), _note(one), part.where
    sheet.rule(top)
    room = sheet.width - 2 * MARGIN - sheet.width_of(note, size=SMALL) - 0.3
    heading = sheet.scored(part.title + str(one["prompt"].item()), float(one["score"]), width=room, size=TITLE)
    sheet.write(MARGIN, top + 0.06, heading, size=TITLE)
    sheet.note(sheet.width - MARGIN, top + 0.09, note, align="right")
    first, *others = (lattice.panel_at(sheet, row, column) for column in range(lattice.columns))
    panels.draw_image(first, one["image"], where)
    panels.draw_peak(first, one["dense"], where, marker="x")
    panels.draw_peak(first, one["contribution"], where, marker="o")
    grey = panels.reduced(one["image"])
    for ax, (name, scale) in zip(others, each.items(), strict=True):
        panels.draw_map(ax, one[name], where, scale, image=grey, interpolation=interpolation)


def _note(one: xr.Dataset) -> str:
    """Say the agreement numbers of a row, as far as the result has them."""
    parts = ["absent from the image"] if "absent" in one.coords and bool(one["absent"]) else []
    if "spearman" in one and np.isfinite(float(one["spearman"])):
        parts.append(f"rank correlation {float(one['spearman']):.2f}".replace("-", "−"))
    if "same_peak" in one:
        parts.append("same peak" if bool(one["same_peak"]) else "different peaks")
    if "attention_in_top_decile" in one:
        parts.append(f"{float(one['attention_in_top_decile']):.0%} of attention on the dense top tenth")
    return " · ".join(parts)
