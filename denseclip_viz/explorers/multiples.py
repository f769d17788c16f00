"""Small multiples of one prompt: its map along each path, and by each attribution; a click shows one big."""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from denseclip_viz.canvas.map_stacks import Stack, stacks_of
from denseclip_viz.canvas.state import ENSEMBLE, OUTPUT
from denseclip_viz.explorers.query import Result
from denseclip_viz.explorers.thumbnails import Thumbnail, ThumbnailGrid, Thumbnails
from denseclip_viz.plot.panels import placement


def show_multiples(result: Result, state: Mapping[str, Any], tiles: Thumbnails) -> None:
    """Lay out the prompt and template of a canvas' state along every path and method; nothing where there is one.

    Nor beside refined segments, which are along one path and all that the canvas has.
    """
    both = result.comparison
    stacks = [stack for stack in stacks_of(both) if stack.layer == OUTPUT] if result.segments is None else []
    grids = [*_paths(both, state, stacks[:1]), *_methods(both, state, [one for one in stacks if one.method])]
    tiles.layout.display = "" if grids else "none"
    if grids:
        tiles.show(grids, image=both["image"].to_numpy(), where=placement(both))


def _paths(both: xr.Dataset, state: Mapping[str, Any], stacks: Sequence[Stack]) -> list[ThumbnailGrid]:
    if not stacks or both.sizes.get("path", 1) < 2:
        return []
    (stack,), (template, prompt) = stacks, place_in(both, state)
    names, each = list(map(str, both["path"].to_numpy())), len(stack.values) // both.sizes["path"]
    tiles = [
        Thumbnail(
            stack.values[at * each + template, prompt],
            stack.scale,
            {"view": "dense", "layer": OUTPUT, "path": name},
            f"{state['prompt']} along {name}, cosine",
        )
        for at, name in enumerate(names)
    ]
    note = f"One colour scale for all, {stack.scale.span} cosine."
    return [_strip(f"“{state['prompt']}” along each path", names, tiles, note)]


def _methods(both: xr.Dataset, state: Mapping[str, Any], stacks: Sequence[Stack]) -> list[ThumbnailGrid]:
    if len(stacks) < 2:
        return []
    place = place_in(both, state)
    tiles = [
        Thumbnail(
            stack.values[place],
            stack.scale,
            {"view": "attribution", "layer": OUTPUT, "method": stack.method},
            f"{state['prompt']} by {stack.method}: {stack.scale.unit}, on a scale of {stack.scale.span}",
        )
        for stack in stacks
    ]
    title = f"“{state['prompt']}” by each attribution"
    return [_strip(title, [stack.method for stack in stacks], tiles, "Each on a scale of its own: their units differ.")]


def _strip(title: str, names: Sequence[str], tiles: Sequence[Thumbnail], note: str) -> ThumbnailGrid:
    return ThumbnailGrid(title, [(name, False) for name in names], [({}, "", 0.0)], [tiles], note=note, strip=True)


def place_in(both: xr.Dataset, state: Mapping[str, Any]) -> tuple[int, int]:
    """Return where a state's template and prompt stand in a stack; the mean over templates comes last."""
    templates = [str(name) for name in both["template"].to_numpy()]
    template = len(templates) if state["template"] == ENSEMBLE else templates.index(state["template"])
    return template, [str(name) for name in both["prompt"].to_numpy()].index(state["prompt"])
