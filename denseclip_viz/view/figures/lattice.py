"""Rows and columns of equal panels on a sheet, in inches."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes

from denseclip_viz.view.figures.sheet import LINE, MARGIN, Sheet, place


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Where panels lie: each in a slot of its column, below the line of text that heads its row.

    Attributes:
        panel: Size (width, height) of a panel.
        columns: How many.
        rows: How many.
        top: Where the first row's text begins.
        left: Where the first column begins.
        least: Narrowest column, for its texts; a panel stands at the left of its column.
        row_head: Height of the text above each row.
        gap: Between (columns, rows).

    Example:
        >>> lattice = Lattice(panel=(2, 1), columns=3, rows=1, top=0.5)
        >>> lattice.x(1), lattice.bottom
        (2.36, 1.66)
    """

    panel: tuple[float, float]
    columns: int
    rows: int
    top: float
    left: float = MARGIN
    least: float = 0.0
    row_head: float = 0.0
    gap: tuple[float, float] = (0.2, 0.16)

    @property
    def slot(self) -> float:
        """Width of a column: the panel's, but never less than its texts need."""
        return max(self.panel[0], self.least)

    def x(self, column: int) -> float:
        """Left edge of a column."""
        return round(self.left + column * (self.slot + self.gap[0]), 6)

    def y(self, row: int) -> float:
        """Top edge of a row, its text included."""
        return round(self.top + row * (self.row_head + self.panel[1] + self.gap[1]), 6)

    @property
    def width(self) -> float:
        """Width of a sheet that holds all columns."""
        return self.x(self.columns - 1) + self.slot + MARGIN

    @property
    def bottom(self) -> float:
        """Where the next thing below the last row may begin."""
        return self.y(self.rows)

    def height(self, *, lines: int) -> float:
        """Height of a sheet that holds all rows and lines at its foot."""
        return self.bottom + lines * LINE + MARGIN / 2

    def panel_at(self, on: Sheet, row: int, column: int) -> Axes:
        """Make the axes of a panel; what is drawn keeps to the top left of its slot."""
        ax = place(on, self.x(column), self.y(row) + self.row_head, self.slot, self.panel[1])
        ax.set_anchor("NW")
        return ax
