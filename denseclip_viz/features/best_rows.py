"""The highest of very many scores, as they come block by block: no more is in memory than a block."""

import numpy as np
import torch
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Numbers = NDArray[np.int64]
COLUMNS = 512  # at most: the number of a column takes nine bits of a key that is sorted by
_ENTRIES = 22  # bits for the place of an entry
_CHUNK = 32  # rows of which first the highest is looked at: most hold nothing that counts


class BestRows:
    """The `most` highest rows of every column, highest first; of equal ones those with lower numbers.

    It is what sorting all scores of a column would give. Rows come in the order of their numbers.

    Args:
        columns: How many, at most 512.
        most: How many rows of each are kept.

    Attributes:
        scores: `(column, most)`, -inf where fewer rows have come.
        numbers: `(column, most)`, of rows.
        places: `(column, most)`, what came with them.

    Example:
        >>> best = BestRows(1, 2)
        >>> best.add(np.array([[0.25], [0.75], [0.5]], np.float32), first=0)
        >>> best.add(np.array([[0.75], [1.0]], np.float32), first=3)
        >>> best.numbers.tolist(), best.scores.tolist()
        ([[4, 1]], [[1.0, 0.75]])
    """

    def __init__(self, columns: int, most: int) -> None:
        assert columns <= COLUMNS
        self.scores: Scores = np.full((columns, most), -np.inf, np.float32)
        self.numbers: Numbers = np.zeros((columns, most), np.int64)
        self.places: Numbers = np.zeros((columns, most), np.int64)

    def add(self, scores: Scores, *, first: int, places: Numbers | None = None) -> None:
        """Take finite scores `(row, column)`, the number of the first row, and places that belong to the scores."""
        rows, columns = self._above(scores)
        beside = np.zeros(len(rows), np.int64) if places is None else places[rows, columns]
        self._merge(columns, scores[rows, columns], rows + first, beside)

    def _above(self, scores: Scores) -> tuple[Numbers, Numbers]:
        """Find what is above the lowest that is kept: (rows, columns). An equal one that comes later is behind it."""
        whole = len(scores) // _CHUNK
        chunked, rest = scores[: whole * _CHUNK].reshape(whole, _CHUNK, scores.shape[1]), scores[whole * _CHUNK :]
        highest, most = (
            torch.from_numpy(chunked).amax(1).numpy(),
            self.scores.shape[1],
        )  # NumPy's takes half as long again
        floor = self.scores[:, -1]
        if len(scores) > most and np.isneginf(floor).any():  # below are more than `most` of this block
            among = highest if whole >= most else scores
            floor = np.nextafter(np.partition(among, -most, axis=0)[-most], np.float32(-np.inf))
        chunks, columns = np.divmod(np.flatnonzero(highest > floor), scores.shape[1])
        hits, offsets = np.divmod(np.flatnonzero(chunked[chunks, :, columns] > floor[columns, None]), _CHUNK)
        last, beside = np.nonzero(rest > floor)
        rows = np.concatenate([chunks[hits] * _CHUNK + offsets, last + whole * _CHUNK])
        return rows, np.concatenate([columns[hits], beside])

    def _merge(self, columns: Numbers, scores: Scores, numbers: Numbers, places: Numbers) -> None:
        """Sort what is new into what is kept: by column, then score, then order of coming."""
        count, most = self.scores.shape
        owners = np.concatenate([np.repeat(np.arange(count), most), columns])
        pairs = ((self.scores, scores), (self.numbers, numbers), (self.places, places))
        every, numbered, placed = (np.concatenate([old.ravel(), new]) for old, new in pairs)
        if len(owners) < 1 << _ENTRIES:
            keys = (owners << (32 + _ENTRIES)) | (_falling(every) << _ENTRIES) | np.arange(len(owners))
            order = np.sort(keys) & ((1 << _ENTRIES) - 1)
        else:  # very many are asked for: more entries than have room in a key
            order = np.lexsort((_falling(every), owners))
        starts = np.searchsorted(owners[order], np.arange(count))
        chosen = order[starts[:, None] + np.arange(most)]
        self.scores, self.numbers, self.places = every[chosen], numbered[chosen], placed[chosen]


def _falling(scores: Scores) -> Numbers:
    """Turn floats into whole numbers from 0 below 2**32, the higher the lower."""
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # -0.0 is 0.0
    falling: Numbers = (1 << 31) - 1 - np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return falling
