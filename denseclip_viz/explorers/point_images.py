"""The images behind points of a map, as small files for the browser."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from denseclip_viz.errors import ImageError, first_line
from denseclip_viz.features.feature_store import FeatureStore
from denseclip_viz.plot.raster import Bytes, dimmed, jpeg
from denseclip_viz.plot.text import number
from denseclip_viz.validation import many

if TYPE_CHECKING:
    import xarray as xr

SIDE = 208  # pixels, the longer side: twice what a page shows
HELD = 200  # images that are held: 25 MB


class ChosenImage(NamedTuple):
    """An image with chosen points.

    Attributes:
        number: In the store.
        point: The one of the highest score.
        score: That.
        cells: Of all of its chosen points.
    """

    number: int
    point: int
    score: float
    cells: tuple[int, ...]


class PointImages:
    """Finds and shows the images of points.

    Args:
        store: Where they are.
        layout: The points.
    """

    def __init__(self, store: FeatureStore, layout: xr.Dataset) -> None:
        self._store, self._is_dense = store, layout.attrs["of"] == "dense"
        self._numbers, self._cells = layout["number"].to_numpy(), layout["cell"].to_numpy()
        self._small: OrderedDict[int, Bytes] = OrderedDict()

    def ranked(self, points: Sequence[int], scores: npt.NDArray[np.float32]) -> list[ChosenImage]:
        """List the images of points, the highest score first, equal ones in the order of the store."""
        chosen = np.asarray(points, dtype=np.int64)
        order = chosen[np.lexsort((chosen, -scores[chosen], self._numbers[chosen]))]
        numbers, first = np.unique(self._numbers[order], return_index=True)
        parts = np.split(self._cells[order], first[1:])
        best = order[first]
        rank = np.lexsort((numbers, -scores[best]))
        return [ChosenImage(int(numbers[i]), int(best[i]), float(scores[best[i]]), tuple(parts[i])) for i in rank]

    def tile(self, one: ChosenImage) -> dict[str, Any]:
        """Show an image, all but its chosen positions faded, with its name and its highest score."""
        name, note = self._store.names[one.number], number(one.score, 3)
        tile: dict[str, Any] = {"point": one.point, "name": name, "score": note, "image": b"", "note": ""}
        if self._is_dense:
            tile["note"] = many(len(one.cells), "position")
        try:
            pixels = self._read(one.number)
        except ImageError as error:  # gone since, or in memory when it was encoded: its name still says which
            return tile | {"note": first_line(error)}
        return tile | {"image": jpeg(self._marked(pixels, one), quality=85)}

    def _read(self, which: int) -> Bytes:
        if which not in self._small:
            image = Image.fromarray(self._store.read_image(which))
            image.thumbnail((SIDE, SIDE))
            self._small[which] = np.asarray(image)
            if len(self._small) > HELD:
                self._small.popitem(last=False)
        return self._small[which]

    def _marked(self, pixels: Bytes, one: ChosenImage) -> Bytes:
        geometry = self._store.images[one.number].geometry
        if not self._is_dense or geometry is None:
            return pixels
        where = geometry.placement()
        cells = np.zeros(where.grid, bool)
        cells.ravel()[list(one.cells)] = True
        # one row and column around the grid, for pixels beside it
        framed = np.pad(cells, 1)
        sides = zip(pixels.shape[:2], where.image, where.grid, strict=True)
        places = [((np.arange(count) + 0.5) / count * size, number) for count, size, number in sides]
        rows, columns = (where.cells_at(axis, at).clip(-1, number) + 1 for axis, (at, number) in enumerate(places))
        marked: Bytes = np.where(framed[np.ix_(rows, columns)][..., None], pixels, dimmed(pixels))
        return marked
