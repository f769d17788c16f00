"""`denseclip-viz templates street.jpg -p "red car" --templates imagenet-7`: which template sees best."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from denseclip_viz.cli import image_commands as runs
from denseclip_viz.cli import options as opt
from denseclip_viz.cli.completion import completing, layouts, template_sets
from denseclip_viz.cli.printed import STYLE, print_table, print_written
from denseclip_viz.errors import PromptError
from denseclip_viz.files import FIGURES, atomic_write, check_target, save_table

if TYPE_CHECKING:
    import pandas as pd

    from denseclip_viz.model import Model
    from denseclip_viz.prompts import Prompts


ENDINGS = (".csv", ".html", *FIGURES)
_SOURCE = ("model", "weights", "weights_hash", "random_weights")


def templates(
    images: opt.Images,
    prompt: opt.PromptList,
    model: opt.ModelOptions,
    template: Annotated[
        list[str],
        typer.Option(
            "--templates",
            "--template",
            "-t",
            help="A set (imagenet-7), or templates with {}.",
            autocompletion=completing(template_sets),
        ),
    ],
    articles: opt.Articles = "as written",
    masks: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of masks: NAME.png of class indices for each image, with classes.txt."),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            help="Whose masks they are: voc21, ade150, … (denseclip-viz datasets lists all).",
            autocompletion=completing(layouts),
        ),
    ] = "folder",
    absent: opt.Absent = [],  # noqa: B006  typer copies it
    score: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What several images are ranked by: shared_precision, iou_won, margin_absent, …"),
    ] = None,
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="A cosine for the number iou; above every absent prompt by default."),
    ] = None,
    geometry: opt.FitOfPreset = None,
    path: opt.OnePath = [],  # noqa: B006
    engine: opt.Engine = None,
    workers: opt.Workers = None,
    out: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--out", "-o", help="csv: table; html: table and figures in one file; png, svg, pdf: figure."),
    ] = None,
    force: opt.Force = False,
) -> None:
    """Say which template sees best: numbers for one image, a ranking with its noise for several."""
    from denseclip_viz.datasets.mask_folder import MaskFolder
    from denseclip_viz.measure.template_table import refuse_one

    prompts, fit, files = (
        opt.prompts_of(prompt, template, absent, articles),
        opt.one_grid(model.preset, geometry),
        runs.find(images),
    )
    one, where = opt.paths_of(path), opt.engine_of(engine, workers)
    if len(files) > 1:
        refuse_one(list(prompts.templates), "ranking")
    elif where is not None:
        got, fix = "Workers for one image", "Leave --engine and --workers out, or pass a folder."
        raise PromptError(got, expected="several images to share out", fix=fix)
    if out is not None:
        check_target(out, ENDINGS, force=force)
        runs.refuse_input(out, files, fix="Choose another name.")
    _check_numbers(files, masks, score, threshold, layout)
    truth = None if masks is None else MaskFolder.of(masks, files, prompts, layout)
    loaded, skipped = model.load(), runs.Skipped(len(files))
    traced: dict[str, Any] = {"path": one, "geometry": fit, "preset": model.preset}
    if len(files) == 1:
        result = _one(loaded, files[0], prompts, truth, threshold=threshold, **traced)
    else:
        options: dict[str, Any] = {"score": score, "threshold": threshold, **traced}
        options |= {"unreadable": skipped, "engine": where, "progress": not STYLE.get().quiet}
        result = _several(loaded, files, prompts, truth, **options)
    _keep(result, out, force=force)
    if result.stopped:
        raise KeyboardInterrupt
    skipped.end()


@dataclass
class _Result:
    """What is printed, written and drawn."""

    title: str
    table: pd.DataFrame
    attrs: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    draw: tuple[Any, ...] = ()
    stopped: bool = False


def _check_numbers(
    files: list[Path], masks: Path | None, score: str | None, threshold: float | None, layout: str
) -> None:
    """Refuse, before any model is loaded, an option that would change nothing."""
    if score is not None and len(files) == 1:
        got, fix = f"--score {score} for one image", "Leave it out, or pass a folder."
        raise PromptError(got, expected="several images to rank templates on", fix=fix)
    if layout != "folder" and masks is None:
        got, fix = f"--layout {layout} without --masks", "Name the folder of its masks: --masks SegmentationClass."
        raise PromptError(got, expected="masks that it is for", fix=fix)
    if threshold is not None and (masks is None or (len(files) > 1 and score != "iou")):
        got = f"--threshold {threshold:g} {'without --masks' if masks is None else 'without --score iou'}"
        raise PromptError(got, expected="something that it is for", fix="It is for the number iou, with masks.")


def _one(model: Model, file: Path, prompts: Prompts, truth: Any, *, threshold: float | None, **options: Any) -> _Result:
    from denseclip_viz.measure.template_table import templates_table

    trace = model.trace(file, **options)
    maps = model.similarity(trace, prompts)
    vectors = model.texts.encode(prompts)
    masks = None if truth is None else truth(file)
    table = templates_table(maps, masks, vectors=vectors, scale=model.logit_scale, threshold=threshold)
    figures = ("grid", "disagreement") if len(prompts.templates) > 1 else ("grid",)
    draw = tuple(partial(runs.plotted(name, image=trace.image), maps) for name in figures)
    lines = ["Cosines. One image ranks no templates: pass a folder for that."]
    return _Result(f"Templates on {file.name}", table, dict(maps.attrs), lines, _not_judged(prompts, truth), draw)


def _several(model: Model, files: list[Path], prompts: Prompts, truth: Any, **options: Any) -> _Result:
    from denseclip_viz.measure.rank import rank_templates

    ranking = rank_templates(model, files, prompts, truth, **options)
    table, attrs = ranking.table.copy(), dict(ranking.scores.attrs)
    table.insert(1, "number", ranking.score)
    for name in _SOURCE:
        table[name] = attrs.get(name, "")
    table["random_weights"] = bool(attrs.get("random_weights", 0))
    ties, draw = ranking.within_noise, (partial(runs.plotted("template_ranking"), ranking),)
    lines = [f"Prompts: {', '.join(prompts.prompts)}.", f"Within noise of the best: {', '.join(ties)}."]
    title = f"Templates on {ranking.scores.sizes['image']} images"
    return _Result(title, table, attrs, lines, _not_judged(prompts, truth), draw, ranking.stopped)


def _not_judged(prompts: Prompts, truth: Any) -> list[str]:
    """Name prompts that no class of the masks has: a misspelt one must not go unnoticed."""
    rest = [name for name in prompts.named(absent=False) if truth is not None and name not in truth.indices]
    return [f"Not judged, as no class of the masks has these names: {', '.join(rest)}."] if rest else []


def _keep(result: _Result, out: str | None, *, force: bool) -> None:
    """Write the result, then print its table."""
    ending = Path(out).suffix.lower() if out else ""
    if out and ending == ".csv":
        save_table(result.table, out, force=force)
    elif out and ending == ".html":
        _write_page(result, out, force=force)
    elif out:
        from denseclip_viz.plot import save

        save(result.draw[0](), out, force=force)
    print_table(result.table, result.notes)
    print_written([out] if out else [])


def _write_page(result: _Result, out: str, *, force: bool) -> None:
    from denseclip_viz.plot.sheet import provenance

    random = ["RANDOM WEIGHTS: nothing here was learned."] if result.attrs.get("random_weights") else []
    figures = [draw() for draw in result.draw]
    lines = [*random, *result.lines, *result.notes]
    text = page(result.title, lines, figures, result.table, foot=provenance(result.attrs))
    with atomic_write(out, [".html"], force=force) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


# The colours of a saved canvas. A box with columns beyond its edge has a shadow there, which moves with none of them.
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1f2328; --soft: #676d75; --line: #d9dce0; --shadow: #0004; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e6e8eb; --soft: #9aa1aa; --line: #3a3f45; --shadow: #fff5; }
}
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; }
body { max-width: 72rem; padding: 0 1rem; }
h1, p { overflow-wrap: anywhere; }
img { background: #fff; border-radius: 4px; height: auto; max-width: 100%; }
footer { color: var(--soft); font-size: 13px; }
.table { border: 1px solid var(--line); border-radius: 4px; overflow-x: auto; }
.table { background:
  linear-gradient(to right, var(--paper) 1rem, transparent) left / 3rem 100% local,
  linear-gradient(to left, var(--paper) 1rem, transparent) right / 3rem 100% local,
  linear-gradient(to right, var(--shadow), transparent) left / .8rem 100% scroll,
  linear-gradient(to left, var(--shadow), transparent) right / .8rem 100% scroll;
  background-repeat: no-repeat;
}
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td { border-top: 1px solid var(--line); }
.number { text-align: right; }
th.number { min-width: 5em; white-space: normal; }
"""
# What columns are called on the page, where it is not their name with spaces.
_HEADS = {
    "peak": "highest cosine",
    "margin_absent": "above all absent",
    "margin_runner_up": "above the runner-up",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "iou": "IoU",
    "iou_best": "best IoU",
    "iou_won": "IoU won",
    "iou_ceiling": "IoU ceiling",
    "number": "ranked by",
    "low": "score, low",
    "high": "score, high",
    "to_best": "behind the best",
    "to_best_low": "behind the best, low",
    "to_best_high": "behind the best, high",
    "left_out_low": "left out, low",
    "left_out_high": "left out, high",
}


def page(title: str, lines: Sequence[str], figures: Sequence[Any], table: pd.DataFrame, *, foot: str = "") -> str:
    """Write a page of HTML: a title, lines of text, figures, a table; it loads nothing and has no script.

    Example:
        >>> import pandas as pd
        >>> written = page("x", ["<b>"], [], pd.DataFrame({"prompt": ["<script>"], "margin_absent": [-0.25]}))
        >>> "<script>" in written, "&lt;b&gt;" in written, "&lt;script&gt;" in written
        (False, True, True)
        >>> "margin_absent" in written, "above all absent" in written, "−0.2500" in written
        (False, True, True)
    """
    text = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    images = "".join(f'<p><img alt="" src="data:image/png;base64,{_png(figure)}"></p>' for figure in figures)
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{view}<title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body><h1>{html.escape(title)}</h1>'
        f"{text}{images}{_rows(table)}<footer><p>{html.escape(foot)}</p></footer></body></html>\n"
    )


def _rows(table: pd.DataFrame) -> str:
    """Write a table in a box of its own that scrolls, by keys too; numbers stand at the right."""
    sides = [' class="number"' if kind.kind in "iuf" else "" for kind in table.dtypes]
    heads = [_HEADS.get(name, name.replace("_", " ")) for name in map(str, table)]
    written = [_row("th", heads, sides), *(_row("td", map(_cell, row), sides) for row in table.itertuples(index=False))]
    return f'<div class="table" tabindex="0"><table>{"".join(written)}</table></div>'


def _row(tag: str, texts: Iterable[str], sides: Sequence[str]) -> str:
    cells = (f"<{tag}{side}>{html.escape(text)}</{tag}>" for text, side in zip(texts, sides, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _cell(value: Any) -> str:
    """Write one value: numbers with a true minus, and a dash where there is none."""
    import pandas as pd

    from denseclip_viz.plot.text import number

    if pd.isna(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value, 4) if isinstance(value, float) else str(value)


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
