"""The still image of a canvas, for places that show no widgets: what it shows, its scale, and that there is more."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.transforms import Bbox
from PIL import Image

from denseclip_viz.canvas.encoding import read_labels, read_masks
from denseclip_viz.canvas.heat_rows import HeatRows, heat_rows, stack_maps
from denseclip_viz.canvas.payload import Payload
from denseclip_viz.canvas.state import DIVERGING, MEAN, MOST_TITLES, OUTPUT, PICKED_BY, SEQUENTIAL
from denseclip_viz.errors import silenced
from denseclip_viz.maps.segment import NO_CUT
from denseclip_viz.plot.raster import UNSEEN, Bytes, Colour, Floats, overlay, paint_labels, softened
from denseclip_viz.plot.scales import Scale, draw_bar, label_colour
from denseclip_viz.plot.segments import striped
from denseclip_viz.plot.sheet import DPI, ENTRY, GREY, LINE, MARGIN, SMALL, TINY, TITLE, Sheet
from denseclip_viz.plot.text import isolated, number, plain

STILL_PIXELS = 448  # of the image's long side: notebooks with several stay small
LEAST = 2.8  # inches: room for the texts beside a narrow image
HEAD, BAR = 0.3, 0.58  # inches: the title, and the scale with its name and numbers
MOST_LABELS = 8  # in the legend; the largest
MOST_ROWS = 24  # of a heat map: notebooks with several stay short
NAMES, NUMBERS = 1.15, 0.55  # inches: what stands at the left and at the right of a heat map
NOTE = "A still image: run this cell to point, choose and type."

Labels = npt.NDArray[np.integer[Any]]


def snapshot(shown: Payload, state: Mapping[str, Any]) -> bytes:
    """Draw what a canvas shows at the start, as PNG, without a browser."""
    return _png(laid_out(shown, state))


def still_of(draw: Callable[[], tuple[Figure, str]]) -> bytes:
    """Turn a figure into the still image of what can be touched, as PNG: below it stands that it is, and of what."""
    with silenced():  # as below
        figure, about = draw()
    width, height = figure.get_size_inches()
    figure.text(MARGIN / width, 0, f"{about} {NOTE}".strip(), ha="left", va="top", **plain(TINY, GREY))
    return _png(figure, Bbox.from_extents(0, -LINE - MARGIN / 2, width, height))


def _png(figure: Figure, part: Bbox | None = None) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches=part)
    return buffer.getvalue()


def laid_out(shown: Payload, state: Mapping[str, Any]) -> Figure:
    """Lay out the map with its name and scale, or the labels with theirs, and say that there is more."""
    pixels, labels = drawn(shown, state)
    title, about = _words(shown, state, labels)
    legend = {} if labels is None else _legend(shown, labels)
    rows = None if labels is not None else _rows(shown, state)
    attrs = {**shown.meta["provenance"], "caution": shown.meta["caution"], "path": _path(shown, state)}
    with silenced():  # of fonts that are not here: the browser has its own
        sheet = Sheet(attrs, [title, about, *legend, NOTE, *(rows.names[:MOST_ROWS] if rows else ())])
    height, width = (side / DPI for side in pixels.shape[:2])
    top, wide = sheet.top + HEAD, max(width, LEAST)
    below = top + height + 0.12
    foot = below + (BAR if labels is None else len(legend) * ENTRY + 0.05)
    heat, foot = foot, foot + (_height(rows) if rows else 0)
    count = len(shown.choices["prompt"]) if labels is None and rows is None and title == state["prompt"] else 1
    some = f"One of {count} prompts." if count > 1 else ""
    sheet.resize(wide + 2 * MARGIN, foot + (3 + bool(some)) * LINE + MARGIN / 2)
    about = sheet.fit(about, width=wide / 2, size=SMALL)[0]
    room = wide - sheet.width_of(about, size=SMALL) - 0.2
    sheet.write(MARGIN, sheet.top, isolated(sheet.fit(title, width=room, size=TITLE)[0]), size=TITLE)
    sheet.note(MARGIN + wide, sheet.top + 0.03, about, align="right")
    area = sheet.place(MARGIN, top, width, height)
    area.imshow(pixels, interpolation="antialiased", aspect="auto", extent=_frame(shown))
    _mark(area, shown, state)
    for row, (name, colour) in enumerate(legend.items()):
        sheet.entry(MARGIN, below + row * ENTRY, name, colour, "", width=wide)
    if labels is None:
        _draw_scale(sheet, shown, state, below, wide)
    if rows:
        _draw_rows(sheet, rows, _scale(shown, state), state["filter"].strip(), heat, wide)
    sheet.footer(foot, some, NOTE, of_two_lines=True)
    return sheet.figure


def drawn(shown: Payload, state: Mapping[str, Any]) -> tuple[Bytes, Labels | None]:
    """Draw the map over the softened image, or the labels (row, column), which are given too."""
    image = _image(shown)
    labels = _labels(shown, state, *image.shape[:2])
    if labels is not None:
        return paint_labels(labels, image, [label_colour(i) for i in range(len(shown.meta["palette"]))]), labels
    state = _possible(shown, state)
    other, scale = _other(shown, state), _scale(shown, state)
    maps = [_maps(shown, one, *image.shape[:2]) for one in (state, other) if one is not None]
    maps = [maps[0] - maps[1]] if _differs(state, other) else maps
    pixels, *beside = (_coloured(image, one, scale, state["opacity"], _threshold(shown, state)) for one in maps)
    line = round(state["split"] * image.shape[1])
    return (np.concatenate([pixels[:, :line], beside[0][:, line:]], axis=1) if beside else pixels), None


def _threshold(shown: Payload, state: Mapping[str, Any]) -> float | None:
    """Give the threshold of the map; beside cells that are compared with one it is a number of those."""
    return None if shown.hovers(state) else state["threshold"]


def _coloured(image: Bytes, drawn: Floats, scale: Scale, opacity: float, threshold: float | None) -> Bytes:
    """Lay a map over the image, without colour below the threshold, or nearer to zero where it has two sides."""
    look: dict[str, Any] = {"low": scale.low, "high": scale.high, "colours": scale.colours}
    pixels = overlay(image, drawn, opacity=opacity, **look)
    if threshold is None:
        return pixels
    hidden = (np.abs(drawn) if scale.is_diverging else drawn) < threshold
    result: Bytes = np.where(hidden[..., None], softened(image), pixels)
    return result


def _frame(shown: Payload) -> tuple[float, float, float, float]:
    """Give the sides of the image in its own pixels: left, right, bottom, top."""
    height, width = shown.meta["size"]
    return 0, width, height, 0


def _mark(area: Axes, shown: Payload, state: Mapping[str, Any]) -> None:
    """Draw the pinned cell and the outline of the region over the image, as sheet.js does."""
    box = None if state["pinned"] is None else shown.place().box_of(state["pinned"])
    if box is not None:
        top, left, bottom, right = box
        for colour, line in (("black", 2.2), ("white", 1.2)):
            look: dict[str, Any] = {"fill": False, "edgecolor": colour, "linewidth": line, "gid": "pin"}
            area.add_patch(Rectangle((left, top), right - left, bottom - top, **look))
    if state["region"] is not None:
        outline = [(x, y) for y, x in state["region"]]
        for colour, line in (("white", 2.2), ("black", 1.2)):
            area.add_patch(Polygon(outline, fill=False, edgecolor=colour, linewidth=line, gid="region"))


def _other(shown: Payload, state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Find the state of the map that is compared with, where both are on one scale, as contrast.js does."""
    if state["versus"] is None or shown.hovers(state):
        return None
    name, value = state["versus"]
    other = {**state, name: value}
    if other["view"] not in shown.meta["maps"].get(other["layer"], {}):
        return None
    (stack, at), (beside, there) = shown.select(state), shown.select(other)
    alike = all(stack[key] == beside[key] for key in ("unit", "low", "high", "grid"))
    return other if alike and (stack is not beside or at != there) else None


def _differs(state: Mapping[str, Any], other: Mapping[str, Any] | None) -> bool:
    return other is not None and state["contrast"] == "difference"


def _possible(shown: Payload, state: Mapping[str, Any]) -> dict[str, Any]:
    """Take the first view of a layer that has not the one that is asked for."""
    views = shown.meta["maps"][state["layer"]]
    return {**state, "view": state["view"] if state["view"] in views else next(iter(views))}


def _words(shown: Payload, state: Mapping[str, Any], labels: Labels | None) -> tuple[str, str]:
    """Say what is shown: a prompt, a head or segments; and of which template and layer, where there are several."""
    if labels is not None:
        return state["view"], ""
    stack, _ = shown.select(_possible(shown, state))
    head = "mean of heads" if state["head"] == MEAN else f"head {state['head']}"
    template = state["template"] if stack["axes"] and stack["axes"][0] == "template" else "{}"
    path = state["path"] if stack["view"] == "dense" and len(shown.choices["path"]) > 1 else ""
    parts = [template if template != "{}" else "", path, state["layer"] if state["layer"] != OUTPUT else ""]
    by_text = stack["axes"] == ["template", "prompt"]
    title = state["prompt"] if by_text else head
    if _other(shown, _possible(shown, state)) is not None:
        name, value = state["versus"]
        title = f"{state[name]} {'−' if state['contrast'] == 'difference' else '|'} {value}"
    return title, " · ".join(filter(None, parts))


def _path(shown: Payload, state: Mapping[str, Any]) -> str:
    """Name the path of what is shown, or the two that are compared, as creditOf in readout.js; some views have none."""
    state = _possible(shown, state)
    if state["view"] != "difference" and PICKED_BY.get(state["view"]) != "path":
        return ""
    is_map = state["view"] not in ("segments", "masks")  # these are compared with nothing
    name, value = state["versus"] if is_map and _other(shown, state) is not None else ("", "")
    paths = ", ".join(filter(None, [state["path"], value if name == "path" else ""]))
    return paths or shown.meta["provenance"].get("path", "")


def _legend(shown: Payload, labels: Labels) -> dict[str, Colour | None]:
    """Name what is there with its colour, the largest first."""
    indices, counts = np.unique(labels[labels >= 0], return_counts=True)
    listed = indices[np.argsort(-counts, kind="stable")].tolist()
    rest = {f"and {len(listed) - MOST_LABELS} more": None} if len(listed) > MOST_LABELS else {}
    return {shown.choices["prompt"][at]: label_colour(at) for at in listed[:MOST_LABELS]} | rest


def _draw_scale(sheet: Sheet, shown: Payload, state: Mapping[str, Any], top: float, width: float) -> None:
    state = _possible(shown, state)
    stack, _ = shown.select(state)
    scale, differ = _scale(shown, state), _differs(state, _other(shown, state))
    sheet.note(MARGIN, top, "difference" if differ else stack["title"])
    sheet.note(MARGIN + width, top, stack["unit"] + _below(shown, state, scale, stack["decimals"]), align="right")
    bar = sheet.place(MARGIN, top + 0.3, width, 0.09)
    draw_bar(bar, scale, opacity=state["opacity"], baseline=None if differ else shown.baseline(state))


def _below(shown: Payload, state: Mapping[str, Any], scale: Scale, decimals: int) -> str:
    """Say what the threshold hides."""
    if (threshold := _threshold(shown, state)) is None:
        return ""
    return f", hidden {'within ±' if scale.is_diverging else 'below '}{number(threshold, decimals)}"


def _scale(shown: Payload, state: Mapping[str, Any]) -> Scale:
    """Find the scale of what is drawn, in the colours that are chosen if they are of its kind, as selection.js does."""
    state = _possible(shown, state)
    scale: Scale = list(shown.scales.values())[shown.meta["stacks"].index(shown.select(state)[0])]
    scale = scale.of_differences() if _differs(state, _other(shown, state)) else scale
    offered = DIVERGING if scale.is_diverging else SEQUENTIAL
    return replace(scale, colours=state["colours"]) if state["colours"] in offered else scale


def _rows(shown: Payload, state: Mapping[str, Any]) -> HeatRows | None:
    """Read the heat map beside the map; beside a difference there is none."""
    state = _possible(shown, state)
    return None if _differs(state, _other(shown, state)) else heat_rows(shown, state)


def _height(rows: HeatRows) -> float:
    """Measure a heat map with its titles, its scale, and the line that says what is not in it."""
    return LINE * (min(len(rows.names), MOST_ROWS) + 2) + 0.25 if rows.names else LINE + 0.1


def _draw_rows(sheet: Sheet, rows: HeatRows, scale: Scale, letters: str, top: float, width: float) -> None:
    """Draw the first rows as they are listed, their cells in the full colours of the scale, which stands below."""
    if not rows.names:
        sheet.note(MARGIN, top + 0.06, f"none of {rows.total} has “{letters}” in it")
        return
    top, names, values = top + 0.05, rows.names[:MOST_ROWS], rows.values[:MOST_ROWS]
    left, across, count = MARGIN + NAMES, width - NAMES - NUMBERS, len(rows.titles)
    small: dict[str, Any] = {"size": TINY, "colour": GREY}
    for at in range(count) if count <= MOST_TITLES else (0, count - 1):
        sheet.write(left + across * (at + 0.5) / count, top, rows.titles[at], align="center", **small)
    sheet.write(MARGIN + width, top, rows.titles[rows.marked], align="right", **small)
    for at, (name, value) in enumerate(zip(names, values[:, rows.marked].tolist(), strict=True)):
        line = top + LINE * (at + 1) + 0.03
        sheet.write(MARGIN, line, isolated(sheet.fit(name, width=NAMES - 0.1, size=TINY)[0]), size=TINY)
        sheet.write(MARGIN + width, line, number(value, rows.decimals), size=TINY, align="right")
    look: dict[str, Any] = {"cmap": scale.colours, "vmin": scale.low, "vmax": scale.high, "aspect": "auto"}
    sheet.place(left, top + LINE, across, LINE * len(names)).imshow(values, interpolation="nearest", **look)
    below = top + LINE * (len(names) + 1) + 0.06
    draw_bar(sheet.place(left, below, across, 0.07), scale, opacity=1)
    match, more = len(rows.names), len(rows.names) - len(names)
    notes = [f"{match} of {rows.total} match" * (match < rows.total), f"and {more} more" * bool(more)]
    sheet.write(MARGIN, below, " · ".join(filter(None, notes)), **small)


def _labels(shown: Payload, state: Mapping[str, Any], rows: int, columns: int) -> Labels | None:
    """Label pixels, those of several masks in turn, -1 for none; nothing for a map."""
    if "labels" in shown.buffers:
        names = shown.meta["labels"]["files"]
        files = [Image.open(io.BytesIO(shown.buffers[name])) for name in names]
        labels, *masks = [file.resize((columns, rows), Image.Resampling.NEAREST) for file in files]
        return striped(read_masks(masks)) if state["view"] == "masks" else read_labels(labels)
    if state["view"] not in ("segments", "masks"):
        return None
    numbers, maps, cut = _present(shown, state, rows, columns)
    best = striped(maps > cut) if state["view"] == "masks" else np.where(maps.max(0) > cut, maps.argmax(0), -1)
    return np.where(best < 0, -1, np.take(numbers, best))


def _present(shown: Payload, state: Mapping[str, Any], rows: int, columns: int) -> tuple[list[int], Floats, float]:
    """Give the prompts that are not absent, their maps (prompt, row, column), and the cosine that they must exceed."""
    numbers = [at for at, prompt in enumerate(shown.meta["prompts"]) if not prompt["absent"]]
    names = [shown.choices["prompt"][at] for at in numbers]
    maps = np.stack([_maps(shown, {**state, "prompt": name}, rows, columns) for name in names])
    baseline = shown.baseline({**state, "prompt": names[0]})
    return numbers, np.nan_to_num(maps, nan=NO_CUT), NO_CUT if baseline is None else baseline


def _maps(shown: Payload, state: Mapping[str, Any], rows: int, columns: int) -> Floats:
    """Draw the map that a state names: linear between cells or the cells, NaN where nothing was seen."""
    stack, at = shown.select(state)
    maps, where = stack_maps(shown, stack)
    return where.weights(rows, columns, nearest=state["interpolation"] == "nearest").draw(maps[at])


def _image(shown: Payload) -> Bytes:
    if "image" in shown.buffers:
        image = Image.open(io.BytesIO(shown.buffers["image"])).convert("RGB")
    else:
        height, width = shown.meta["size"]
        image = Image.new("RGB", (max(1, width), max(1, height)), (UNSEEN,) * 3)
    image.thumbnail((STILL_PIXELS, STILL_PIXELS))
    return np.asarray(image)
