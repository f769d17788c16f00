"""Places of a tower that can be changed, and passes in which they are: many interventions of one image in a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from denseclip_viz.arguments import list_names
from denseclip_viz.clip.attention import AttentionCall
from denseclip_viz.clip.hooks import InterceptAttention, Tap, active_in, match, on_forward
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.towers import Tower
from denseclip_viz.errors import LayerError
from denseclip_viz.validation import is_whole

EACH, POOL = "each", "pool.attention"
PLAIN, SOURCE = 0, 1
"""Rows of a batch before the interventions: the image as it is, and the one that is swapped in, if any."""
Position = tuple[int, int]


@dataclass(frozen=True)
class Site:
    """A place that can be changed.

    Attributes:
        tap: Where it is.
        heads: How many heads it has; 0 where it has none.
        grid: Its positions, `(y, x)`.
    """

    tap: Tap
    heads: int
    grid: Position


@dataclass(frozen=True)
class Change:
    """What one intervention changes.

    Attributes:
        at: The place.
        head: A head of an attention; None for all of them, or where there is none.
        position: `(y, x)`; None for all.
    """

    at: str
    head: int | None = None
    position: Position | None = None

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        head = "" if self.head is None else f" head {self.head}"
        return f"{self.at}{head}" + ("" if self.position is None else f" at {self.position[0]}, {self.position[1]}")


def sites_of(tower: Tower, pixels: Tensor, names: Sequence[str], grid: Position) -> dict[str, Site]:
    """Look at the places that can be changed: one pass of one image.

    Args:
        tower: A tower at the size of its input.
        pixels: `(1, 3, H, W)`.
        names: Names of taps: attention, or what leaves a module.
        grid: The positions of the pool.
    """
    taps, sites = tower.taps(), dict[str, Site]()

    def attention(name: str, call: AttentionCall) -> None:
        sites[name] = Site(taps[name], call.part("value", slice(0, 1)).shape[1], grid)

    def output(name: str, leaving: Tensor) -> None:
        side = taps[name].channels_first(leaving).shape[2:]
        sites[name] = Site(taps[name], 0, (side[0], side[1]) if len(side) == 2 else grid)

    with ExitStack() as stack:
        for name in names:
            listen = partial(attention if taps[name].take == "attention" else output, name)
            stack.enter_context(_at(taps[name], listen))
        tower.forward(pixels)
    if silent := [name for name in names if name not in sites]:
        got, fix = f"nothing ran at {', '.join(silent)}", "Name another place."
        raise LayerError(got, expected="a place that an image goes through, with fused attention", fix=fix)
    return sites


@contextmanager
def _at(tap: Tap, act: Callable[[Any], Tensor | None]) -> Iterator[None]:
    """Let `act` see, and answer, an attention call, or what leaves a module."""
    if tap.take == "attention":
        with active_in(tap.module, InterceptAttention(act)):
            yield
    else:
        with on_forward(tap.module, lambda _, output: act(output)):
            yield


def choose(tower: Tower, at: str | Sequence[str]) -> list[str]:
    """Name the places that patterns mean.

    Raises:
        LayerError: patterns that mean nothing, or places that are only looked at.
    """
    able = {name: tap for name, tap in tower.taps().items() if tap.take in ("attention", "output")}
    able.pop("pool.output", None)
    if not (chosen := match(list_names(at, "at"), list(able))):
        raise LayerError("No place to change", expected="one or more", fix='For example at="pool.attention".')
    return chosen


def combine(sites: dict[str, Site], head: object, position: object) -> list[Change]:
    """List the interventions: each place with each head and each position that is asked for.

    Raises:
        LayerError: a head or a position that there is not.
    """
    changes = []
    for name, site in sites.items():
        heads = [None] if head is None else _heads(name, site, head)
        places = [None] if position is None else _places(name, site, position)
        changes += [Change(name, one, place) for one, place in product(heads, places)]
    return changes


def _heads(name: str, site: Site, head: object) -> list[int]:
    every = list(range(site.heads))
    heads = every if head == EACH else [int(head)] if is_whole(head, 0) and head < site.heads else []
    if not heads:
        expected = f"a number below {site.heads}, or {EACH!r}" if site.heads else "an attention, which has heads"
        fix = "They are counted from 0." if site.heads else "Leave head out."
        raise LayerError(f"head {head!r} of {name}", expected=expected, fix=fix)
    return heads


def _places(name: str, site: Site, position: object) -> list[Position]:
    every = list(product(*map(range, site.grid)))
    places = (
        every if isinstance(position, str) and position == EACH else [place for place in every if place == position]
    )
    if not places:
        expected = f"(y, x) on its grid of {site.grid[0]} x {site.grid[1]}, or {EACH!r}"
        raise LayerError(f"position {position!r} of {name}", expected=expected, fix="They are counted from 0.")
    return [(y, x) for y, x in places]


@dataclass(frozen=True)
class Edits:
    """The interventions at one place in one batch: `{row: change}`, and what is put there."""

    site: Site
    rows: dict[int, Change]
    how: str

    def attention(self, call: AttentionCall) -> Tensor:
        """Answer an attention call with some heads changed."""
        call = call.projected("query", "key", "value")
        heads, values = call.attended().clone(), call.part("value", slice(None))
        for row, change in self.rows.items():
            which = slice(None) if change.head is None else slice(change.head, change.head + 1)
            if change.at == POOL and change.position is not None:
                weights = call.weights(slice(0, 1))[:, :, 0, :, None]
                heads[row, which, 0] += self._of_term(weights, values, row, which, self._token(change, values))
                continue
            rows = slice(None) if change.position is None else [self._token(change, heads)]
            heads[row][which, rows] = self._put(heads, values, row)[which, rows]
        return heads

    def output(self, leaving: Tensor) -> Tensor:
        """Change what leaves a module."""
        changed = leaving.clone()
        maps = self.site.tap.channels_first(changed)  # a view: what is written there is written in its own layout
        for row, change in self.rows.items():
            mean = maps[row].mean((1, 2), keepdim=True) if maps.ndim == 4 else maps[row].mean(0, keepdim=True)
            put = {"zero": torch.zeros_like(mean), "mean": mean, "swap": maps[SOURCE]}[self.how].expand_as(maps[row])
            place = self._index(change, maps)
            maps[row][place] = put[place].clone()
        return changed

    def _index(self, change: Change, maps: Tensor) -> Any:
        if change.position is None:
            return ...
        return (slice(None), *change.position) if maps.ndim == 4 else (self._token(change, maps), slice(None))

    def _token(self, change: Change, tokens: Tensor) -> int:
        """Find the token of a position: positions are the last of all tokens."""
        assert change.position is not None
        (rows, columns), (y, x) = self.site.grid, change.position
        return int(tokens.shape[-2]) - rows * columns + y * columns + x

    def _put(self, heads: Tensor, values: Tensor, row: int) -> Tensor:
        """Give what is put in the place of heads, `(head, row, channel)`."""
        if self.how == "swap":
            return heads[SOURCE]
        alike = values[row].mean(1, keepdim=True) if self.how == "mean" else torch.zeros_like(values[row][:, :1])
        return alike.expand_as(heads[row])

    def _of_term(self, weights: Tensor, values: Tensor, row: int, which: slice, token: int) -> Tensor:
        """Give what changing one term of the pool's sum adds to it, `(head, channel)`."""
        own = (weights * values)[row, which, token]
        if self.how == "swap":
            return (weights * values)[SOURCE, which, token] - own
        return (weights[row] * values[row].mean(1, keepdim=True))[which, token] - own if self.how == "mean" else -own


def run(
    tower: Tower, inputs: Tensor, sites: dict[str, Site], changes: Sequence[Change], how: str, size: int
) -> tuple[Tensor, Tensor]:
    """Run a tower with each change in turn, many in one batch.

    Args:
        tower: A tower at the size of its input.
        inputs: `(1 or 2, 3, H, W)`, the image and the one that is swapped in.
        sites: Where.
        changes: What.
        how: "zero", "mean" or "swap".
        size: Changes in one batch.

    Returns:
        The embedding as it is, `(D,)`, and `(change, D)`.
    """
    first, embeddings = len(inputs), []
    for start in range(0, len(changes), size):
        batch = changes[start : start + size]
        rows = torch.cat([inputs, inputs[:1].expand(len(batch), -1, -1, -1)])
        with memory_guard("batch_size"), ExitStack() as stack:
            for site, at in _by_place(sites, batch):
                edits = Edits(site, {first + row: batch[row] for row in at}, how)
                act = edits.attention if site.tap.take == "attention" else edits.output
                stack.enter_context(_at(site.tap, act))
            embeddings.append(tower.forward(rows)[0].embedding)
    return embeddings[0][PLAIN], torch.cat([each[first:] for each in embeddings])


def _by_place(sites: dict[str, Site], batch: Sequence[Change]) -> Iterator[tuple[Site, list[int]]]:
    """Bring changes of one place together, whatever its name: the last block's attention is a pool's, too."""
    keys = [(id(sites[change.at].tap.module), sites[change.at].tap.take) for change in batch]
    for key in dict.fromkeys(keys):
        rows = [row for row, other in enumerate(keys) if other == key]
        yield sites[batch[rows[0]].at], rows
