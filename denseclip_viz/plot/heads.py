"""The pooling's attention, head by head."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.maps.regions import require
from denseclip_viz.plot import panels, scales
from denseclip_viz.plot.panels import Interpolation
from denseclip_viz.plot.sheet import MARGIN, SMALL, Lattice, Sheet

SIDE, BAR, NARROWEST, GAP = 1.25, 1.9, 0.95, 0.12  # inches: of a square panel, of the bar, of a column
HEAD, ROW_HEAD = 0.55, 0.24  # inches: above everything, above a row
WIDEST = 11.0  # inches: of a row


def heads(both: xr.Dataset, *, interpolation: Interpolation = "bilinear", figure: Figure | None = None) -> Figure:
    """Draw where each head of the pooling looks, the mean first, on one scale.

    Each panel's title says which share of the weight goes to positions; what is left goes to the class token
    or mean token, which the figure's title names when the result does. A tower without either gives it all to
    positions; a plain mean, alike.

    Args:
        both: What `Model.compare` returns; `attention_heads` (head, y, x), weights.
        interpolation: "bilinear", or "nearest" to see the cells.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.

    Raises:
        LayerError: Not a comparison.

    Example:
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> trace = model.trace(dcv.toyworld.scene("a taxi on a road", 96))
        >>> [text.get_text() for text in dcv.plot.heads(model.compare(trace, ["a taxi"])).texts][0]
        'attention by head'
    """
    both = require(both, ["attention_heads", "image"], made_by="model.compare(trace, prompts)")
    weights = both["attention_heads"]
    maps = [weights.mean("head"), *(weights.isel(head=i) for i in range(weights.sizes["head"]))]
    names = ["mean", *(f"head {name}" for name in weights["head"].to_numpy())]
    sheet, where = Sheet(both.attrs, figure=figure), panels.placement(both)
    panel = panels.panel_size(where, side=SIDE)
    columns = min(int(WIDEST / (max(panel[0], NARROWEST) + GAP)), len(maps))
    shape = {"columns": columns, "rows": -(-len(maps) // columns)}
    lattice = Lattice(panel=panel, top=sheet.top + HEAD, least=NARROWEST, row_head=ROW_HEAD, gap=(GAP, 0.1), **shape)
    sheet.resize(max(lattice.width, 6.6), lattice.height(lines=1))
    sheet.title("attention by head")
    sheet.note(MARGIN, sheet.top + 0.21, _shares(both, float(maps[0].sum())))
    scale = scales.of_view("attention", weights)
    scales.draw_bar(sheet.place(sheet.width - MARGIN - BAR, sheet.top + 0.1, BAR, 0.08), scale)
    sheet.note(sheet.width - MARGIN - BAR - 0.1, sheet.top + 0.08, scale.unit, align="right")
    image = panels.reduced(both["image"])
    for i, (name, values) in enumerate(zip(names, maps, strict=True)):
        row, column = divmod(i, columns)
        ax = lattice.panel_at(sheet, row, column)
        panels.draw_map(ax, values, where, scale, image=image, interpolation=interpolation)
        title = f"{name} · {float(values.sum()):.0%}"
        sheet.write(lattice.x(column), lattice.y(row) + 0.07, title, size=SMALL)
    sheet.footer(lattice.bottom)
    return sheet.figure


def _shares(both: xr.Dataset, share: float) -> str:
    terms = [str(term) for term in both["term"].to_numpy()] if "term" in both.coords else []
    if terms and not {"class token", "mean token"} & set(terms):
        each = both["attention_heads"].to_numpy()
        alike = each.shape[0] == 1 and float(np.ptp(each)) == 0
        return "all of the weight goes to positions" + (", alike: this pool is a plain mean" if alike else "")
    token = next((term for term in terms if term in ("class token", "mean token")), "class or mean token")
    return f"{share:.0%} of the weight goes to positions, {max(0.0, 1 - share):.0%} to the {token}"
