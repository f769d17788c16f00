"""`template_lab`: which template sees best, in small maps, numbers and words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from denseclip_viz.canvas.map_stacks import stacks_of
from denseclip_viz.canvas.state import ENSEMBLE, OUTPUT
from denseclip_viz.datasets.example import Masks
from denseclip_viz.errors import shown_elsewhere
from denseclip_viz.explorers.controls import TEXTS
from denseclip_viz.explorers.examples import with_defaults
from denseclip_viz.explorers.panel import ExplorerSpec, Panel, open_panel
from denseclip_viz.explorers.session import Models, Session
from denseclip_viz.explorers.thumbnails import Thumbnail, ThumbnailGrid, Thumbnails
from denseclip_viz.explorers.worker import Report
from denseclip_viz.images import ImageLike
from denseclip_viz.measure.map_scores import masks_among, place_of, places_of
from denseclip_viz.measure.template_table import templates_table
from denseclip_viz.measure.word_effects import word_attribution
from denseclip_viz.plot.grid import grid
from denseclip_viz.plot.panels import placement
from denseclip_viz.plot.scales import Scale
from denseclip_viz.plot.select import names_along
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.validation import many

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CONTROLS = (*TEXTS, "model", "run")
TEMPLATES = "imagenet-7"
MOST_TILES, LEAST_ROWS = 1200, 8  # more small maps than that make a page slow; some rows there are in any case
ITAP = " “itap” of the published templates is short for “I took a picture”."
STILL_ROWS, STILL_COLUMNS = 3, 6  # of a still image: notebooks with several stay short
MOST_AVERAGED = 8  # templates that words are left out in at once, for the mean over templates
# what templates are ordered by: the first that can be counted
RANKED_BY = {
    "average_precision": "average precision",
    "margin_absent": "above all absent",
    "margin_runner_up": "above the runner-up",
    "peak": "highest cosine",
}


class _Ranked(NamedTuple):
    """The table of templates, their means, best first, and the column that orders them."""

    table: pd.DataFrame
    means: pd.Series[float]
    by: str


@dataclass(eq=False)
class _Lab:
    """The parts of a lab that follow its canvas, and what they show."""

    grid: Thumbnails
    words: Thumbnails
    masks: Masks | None
    templates: tuple[str, ...] = ()  # those whose best one was chosen
    order: tuple[str, ...] = ()  # the same, the best first


def template_lab(
    model: Models = None,
    image: ImageLike | None = None,
    prompts: Prompts | Named | None = None,
    templates: str | PathLike[str] | Iterable[str] | None = None,
    *,
    masks: Masks | None = None,
    lock: str | Sequence[str] = (),
) -> Panel:
    """Open a laboratory of templates: a small map for each prompt in each template, ranked, and what each word does.

    Templates are ordered by their mean over prompts: of average precision where there are masks, else of how far the
    peak lies above all absent prompts, else above the runner-up. `templates_table` has every number. Of very many
    the best are shown, and the note says how many there are. One image ranks no templates: `rank_templates` does.

    Args:
        model: As for `explore`.
        image: As for `explore`.
        prompts: As for `explore`.
        templates: A set, a file or templates, as for `Prompts`; by default those of the prompts, or "imagenet-7"
            where texts came.
        masks: `{prompt: (row, column) bool}`, where things are: ranks by average precision.
        lock: Controls that are not shown: "prompts", "absent", "templates", "model", "run", and those of the canvas.

    Returns:
        The widget; a click on a small map shows it on the canvas.

    Raises:
        PromptError: A control that there is not, prompts or templates that cannot be used, or a mask of no prompt.
        ImageError: An image that cannot be opened, or a mask of another size.

    Example:
        >>> import denseclip_viz as dcv
        >>> lab = dcv.template_lab(prompts=["a taxi", "a road"])
        >>> lab.result.sizes["template"], lab.result.sizes["prompt"]
        (7, 2)
    """
    own_templates = templates is None and isinstance(prompts, Prompts)
    image, prompts = with_defaults(image, prompts)
    if not own_templates:
        prompts = _in_templates(prompts, TEMPLATES if templates is None else templates)
    places = places_of(prompts.prompts)
    for name in masks or {}:
        place_of(name, places)  # later a prompt may go, and its mask waits; now a name is a mistake
    lab = _Lab(Thumbnails(), Thumbnails(), masks)
    lab.words.add_class("dcvx-aside")
    below = (lab.grid, lab.words)
    spec = ExplorerSpec(
        "template_lab",
        CONTROLS,
        below=below,
        show=lambda panel: _show(panel, lab),
        still=lambda panel: _still(panel, lab),
        is_lab=True,
    )
    panel = open_panel(spec, Session(model), image, prompts, lock=lock)
    panel.link_thumbnails(lab.grid, lambda: _start_words(panel, lab))
    return panel


def ranking(both: xr.Dataset, masks: Masks | None = None) -> tuple[pd.DataFrame, str]:
    """Count every prompt in every template and in their mean, and say which column of the table orders them."""
    import pandas as pd

    dense = both["dense"]
    known = masks_among(masks or {}, [str(name) for name in dense["prompt"].to_numpy()]) or None
    table = templates_table(dense, known)
    if dense.sizes["template"] > 1:
        mean = dense.mean("template", keep_attrs=True).expand_dims(template=[ENSEMBLE])
        table = pd.concat([table, templates_table(mean, known)], ignore_index=True)
    present = table[~table["absent"]]
    return table, next(name for name in RANKED_BY if name in present and present[name].notna().any())


def _in_templates(prompts: Prompts, templates: str | PathLike[str] | Iterable[str]) -> Prompts:
    """Put the same prompts, with their synonyms and marks, into other templates."""
    named = list(zip(prompts.prompts, prompts.synonyms, strict=True))
    present, absent = (dict(compress(named, [away is it for away in prompts.absent])) for it in (False, True))
    hidden = list(compress(prompts.prompts, prompts.background))
    switches: dict[str, Any] = {"articles": prompts.articles, "plural": prompts.plural}
    return Prompts(present, templates, absent=absent, background=hidden, **switches)


def _show(panel: Panel, lab: _Lab) -> None:
    """Show another result; of other templates than before, the best one first."""
    both, prompts = panel.result, panel.shown.query.prompts
    table, by = ranking(both, lab.masks)
    means = table[~table["absent"]].groupby("template", sort=False)[by].mean()
    ranked = _Ranked(table, means.sort_values(ascending=False, kind="stable"), by)
    lab.order = tuple(str(name) for name in ranked.means.index if name != ENSEMBLE)
    if lab.templates != prompts.templates:
        lab.templates, panel.canvas.state = prompts.templates, {"template": ranked.means.index[0]}
    lab.grid.show([_grid(both, ranked, prompts)], image=both["image"].to_numpy(), where=placement(both))
    _start_words(panel, lab)


def _grid(both: xr.Dataset, ranked: _Ranked, prompts: Prompts) -> ThumbnailGrid:
    """Lay out a map for each template and prompt, the best template first, its row named by what was sent."""
    dense, means, by = next(stacks_of(both)), ranked.means, ranked.by
    most = 1.0 if by == "average_precision" else float(means.max())
    names = [str(name) for name in both["prompt"].to_numpy()]
    best = [str(name) for name in means.index][: max(LEAST_ROWS, MOST_TILES // len(names))]
    shares = [max(0.0, float(means[name]) / most) if most > 0 else 0.0 for name in best]
    rows = [
        ({one: (_sent(prompts, name, one), _tip(prompts, name, one)) for one in names}, f"{means[name]:.2f}", share)
        for name, share in zip(best, shares, strict=True)
    ]
    place = {str(name): at for at, name in enumerate([*both["template"].to_numpy(), ENSEMBLE])}
    cells = {(str(row["template"]), str(row["prompt"])): row for row in ranked.table.to_dict("records")}
    tiles = [
        [
            _tile(dense.values[place[row], at], dense.scale, cells[row, name], _sent(prompts, row, name))
            for at, name in enumerate(names)
        ]
        for row in best
    ]
    columns = list(zip(names_along(both), both["absent"].to_numpy().tolist(), strict=True))
    note = _note(dense.scale, most, best, len(means))
    return ThumbnailGrid("prompts × templates", columns, rows, tiles, note=note, number_title=RANKED_BY[by])


def _still(panel: Panel, lab: _Lab) -> tuple[Figure, str]:
    """Draw the maps of the best templates and the first prompts, for places that show no widgets."""
    both = panel.result
    best = both["dense"].sel(template=list(lab.order[:STILL_ROWS])).isel(prompt=slice(STILL_COLUMNS))
    counts = zip(("template", "prompt"), (len(lab.order), both.sizes["prompt"]), strict=True)
    parts = [f"{best.sizes[axis]} of {many(count, axis)}" for axis, count in counts if count > best.sizes[axis]]
    about = f"{', '.join(['The best first', *parts])}." if len(lab.order) > 1 or parts else ""
    return grid(best, rows="template", cols="prompt", image=both["image"].to_numpy()), about


def _note(scale: Scale, most: float, shown: Sequence[str], count: int) -> str:
    order = "Highest on this image first; one image ranks no templates." if count > 1 else ""
    rest = f" These are {len(shown)} of {count}; templates_table has all." if count > len(shown) else ""
    rest += ITAP if any("itap" in template.split() for template in shown) else ""
    span = f"One colour scale for all, {scale.low:.2f} to {scale.high:.2f} cosine.".replace("-", "−")
    bars = f"Bars go from 0 to {most:.2f}."
    return f"{span} {bars} Rows say what was sent for the prompt shown. {order}{rest}"


def _sent(prompts: Prompts, template: str, prompt: str) -> str:
    if template == ENSEMBLE:
        return f"ensemble: the mean of {len(prompts.templates)}"
    first, *others = prompts.sent(template, prompt)
    return f"{first} (and {many(len(others), 'synonym')})" if others else first


def _tip(prompts: Prompts, template: str, prompt: str) -> str:
    if template == ENSEMBLE:
        return f"the mean of the maps of {len(prompts.templates)} templates"
    sent = ", ".join(f"“{text}”" for text in prompts.sent(template, prompt))
    return f"sent: {sent}; template “{template}”"


def _tile(values: np.ndarray, scale: Scale, numbers: Mapping[Any, Any], sent: str) -> Thumbnail:
    known = {"peak": "peak", "average_precision": "AP", "iou_best": "best IoU", "margin_absent": "above absent"}
    listed = ", ".join(f"{word} {numbers[name]:.3f}" for name, word in known.items() if name in numbers)
    prompt, template = str(numbers["prompt"]), str(numbers["template"])
    tip = f"{prompt} · {sent}" if template == ENSEMBLE else f"“{sent}”"
    patch = {"prompt": prompt, "template": template, "view": "dense", "layer": OUTPUT}
    return Thumbnail(values, scale, patch, f"{tip}: {listed}")


def _start_words(panel: Panel, lab: _Lab) -> None:
    state, shown = panel.canvas.state, panel.shown
    prompt = str(state["prompt"])
    if len(prompt.split()) < 2:
        panel.aside.stop()  # or the bars of the prompt before would come over this line
        lab.words.show_bars([], f"“{prompt}” is one word: nothing can be left out.")
        return
    chosen, articles = shown.query.prompts.templates, shown.query.prompts.articles
    templates = chosen[:MOST_AVERAGED] if state["template"] == ENSEMBLE else (state["template"],)

    def work(report: Report) -> tuple[list[tuple[str, float]], str]:
        with shown_elsewhere():  # the panel has said what there is to say of these prompts
            words = word_attribution(shown.model, shown.trace, prompt, templates, articles=articles, gradient=False)
        change = words["peak_change"].mean("template").to_numpy().tolist()
        where = f"in the mean of {len(templates)} templates" if len(templates) > 1 else f"in “{templates[0]}”"
        note = f"What the peak of “{prompt}” loses without each word, {where}; cosine."
        return list(zip(map(str, words["word"].to_numpy()), change, strict=True)), note

    panel.aside.start(work, lambda bars: lab.words.show_bars(*bars))
