"""The pooling's attention, head by head."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.plot.fonts import lettering
from denseclip_viz.plot.panels import Interpolation, draw_map, panel_size, placement, reduced
from denseclip_viz.plot.scales import ATTENTION, draw_bar, sequential
from denseclip_viz.plot.select import require
from denseclip_viz.plot.sheet import (
    GREY,
    MARGIN,
    SMALL,
    STAMP,
    TITLE,
    Lattice,
    footer,
    is_random,
    new_sheet,
    place,
    provenance,
    stamp,
    write,
)

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
        >>> import numpy as np
        >>> weights = np.full((2, 2, 2), 0.2)
        >>> both = xr.Dataset(
        ...     {"attention_heads": (("head", "y", "x"), weights)}
        ...     | {"image": (("row", "column", "rgb"), np.zeros((20, 20, 3), np.uint8))},
        ...     coords={"head": [0, 1], "y": [4.5, 14.5], "x": [4.5, 14.5]},
        ... )
        >>> [text.get_text() for text in heads(both).texts][1]
        '80% of the weight goes to positions, 20% to the class or mean token'
    """
    require(both, ["attention_heads", "image"], made_by="model.compare(trace, prompts)")
    weights = both["attention_heads"]
    maps = [weights.mean("head"), *(weights.isel(head=i) for i in range(weights.sizes["head"]))]
    names = ["mean", *(f"head {name}" for name in weights["head"].to_numpy())]
    where, letters = placement(both), lettering([provenance(both.attrs)])
    panel = panel_size(where, side=SIDE)
    columns = min(int(WIDEST / (max(panel[0], NARROWEST) + GAP)), len(maps))
    lattice = Lattice(
        panel=panel,
        columns=columns,
        rows=-(-len(maps) // columns),
        top=MARGIN + STAMP * is_random(both.attrs) + HEAD,
        least=NARROWEST,
        row_head=ROW_HEAD,
        gap=(GAP, 0.1),
    )
    on = new_sheet(max(lattice.width, 6.6), lattice.height(lines=1), letters, figure=figure)
    top = MARGIN + stamp(on, both.attrs)
    write(on, MARGIN, top, "attention by head", size=TITLE, weight="bold")
    write(on, MARGIN, top + 0.21, _shares(both, float(maps[0].sum())), size=SMALL, colour=GREY)
    scale = sequential(weights, unit="weight", colours=ATTENTION, also=[0.0])
    draw_bar(place(on, on.width - MARGIN - BAR, top + 0.1, BAR, 0.08), scale)
    image = reduced(both["image"])
    for i, (name, map_) in enumerate(zip(names, maps, strict=True)):
        row, column = divmod(i, columns)
        ax = lattice.panel_at(on, row, column)
        draw_map(ax, map_, where, scale, image=image, interpolation=interpolation)
        title = f"{name} · {float(map_.sum()):.0%}"
        write(on, lattice.x(column), lattice.y(row) + 0.07, title, size=SMALL)
    footer(on, lattice.bottom, [provenance(both.attrs)])
    return on.figure


def _shares(both: xr.Dataset, share: float) -> str:
    terms = [str(term) for term in both["term"].to_numpy()] if "term" in both.coords else []
    if terms and not {"class token", "mean token"} & set(terms):
        heads = both["attention_heads"].to_numpy()
        alike = heads.shape[0] == 1 and float(np.ptp(heads)) == 0
        return "all of the weight goes to positions" + (", alike: this pool is a plain mean" if alike else "")
    token = next((term for term in terms if term in ("class token", "mean token")), "class or mean token")
    return f"{share:.0%} of the weight goes to positions, {max(0.0, 1 - share):.0%} to the {token}"
