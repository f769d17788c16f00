"""`layer_lens`: global against dense down the layers, and where each head looks."""

from collections.abc import Sequence
from typing import Any

import torch
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.canvas.map_stacks import TEXT, Stack, stacks_of
from denseclip_viz.canvas.state import MEAN, OUTPUT
from denseclip_viz.explorers.controls import TEXTS
from denseclip_viz.explorers.examples import with_defaults
from denseclip_viz.explorers.multiples import place_in
from denseclip_viz.explorers.panel import ExplorerSpec, Panel, open_panel
from denseclip_viz.explorers.session import Models, Session
from denseclip_viz.explorers.thumbnails import Thumbnail, ThumbnailGrid, Thumbnails
from denseclip_viz.images import ImageLike
from denseclip_viz.maps.comparison import spearman
from denseclip_viz.plot.layers import layers
from denseclip_viz.plot.panels import placement
from denseclip_viz.plot.scales import GRADIENTS
from denseclip_viz.prompts import Named, Prompts

CONTROLS = (*TEXTS, "model", "run")
ROWS = (("dense", "dense"), ("contribution", "global"))


def layer_lens(
    model: Models = None,
    image: ImageLike | None = None,
    prompts: Prompts | Named | None = None,
    *,
    lock: str | Sequence[str] = (),
) -> Panel:
    """Open a lens on the layers: dense and global maps of a prompt down the layers, how far they agree, and the heads.

    Args:
        model: As for `explore`.
        image: As for `explore`.
        prompts: As for `explore`.
        lock: Controls that are not shown: "prompts", "absent", "templates", "model", "run", and those of the canvas.

    Returns:
        The widget: a canvas, and below it a tile for each layer and each head, which a click shows big.

    Raises:
        PromptError: A control that there is not, or prompts that cannot be used.
        ImageError, ModelNameError, WeightsError: An image or model that cannot be opened.

    Example:
        >>> import denseclip_viz as dcv
        >>> lens = dcv.layer_lens("bundled-vit")
        >>> lens.result.sizes["layer"]
        4
    """
    image, prompts = with_defaults(image, prompts)
    tiles = Thumbnails()
    spec = ExplorerSpec(
        "layer_lens",
        CONTROLS,
        layers="all",
        below=(tiles,),
        show=lambda panel: _show(panel, tiles),
        still=_still,
        is_lab=True,
    )
    lens = open_panel(spec, Session(model), image, prompts, lock=lock)
    lens.link_thumbnails(tiles, lambda: _show(lens, tiles))
    return lens


def _still(panel: Panel) -> tuple[Figure, str]:
    """Draw the layers for the prompt that is shown, for places that show no widgets."""
    count = panel.result.sizes["prompt"]
    about = f"One of {count} prompts." if count > 1 else ""
    return layers(panel.result, prompt=str(panel.canvas.state["prompt"])), about


def _show(panel: Panel, tiles: Thumbnails) -> None:
    both, state = panel.result, panel.canvas.state
    all_stacks = list(stacks_of(both))
    grids = [_layers(both, all_stacks, state), _heads(all_stacks)]
    tiles.show(grids, image=both["image"].to_numpy(), where=placement(both))


def _layers(both: xr.Dataset, all_stacks: Sequence[Stack], state: dict[str, Any]) -> ThumbnailGrid:
    template, prompt = place_in(both, state)
    names = [*map(str, both["layer"].to_numpy()), OUTPUT]
    rows, tiles, drawn, unit = [], [], [], ""
    for view, title in ROWS:
        by_layer = {stack.layer: stack for stack in all_stacks if stack.view == view and stack.axes == TEXT}
        if len(by_layer) > 1:
            unit = by_layer[names[0]].scale.unit
            about = f"{title.capitalize()}: {by_layer[names[0]].title}"
            drawn.append(about)
            rows.append(({"": (title, about)}, "", 0.0))
            tiles.append([_tile(by_layer.get(name), template, prompt, state["prompt"]) for name in names])
    is_gradient = unit == GRADIENTS
    apart = ["The output, apart: cosines and their contributions."] if is_gradient else []
    note = [f"{both.attrs.get('layer_readout', '')}.", *drawn, *apart, "Each scale stands below its map."]
    return ThumbnailGrid(
        f"“{state['prompt']}” down the layers: {unit}",
        [(name, False) for name in names],
        rows,
        tiles,
        note=" ".join(note),
        curves=_curves(both, all_stacks, template, prompt),
        apart=int(is_gradient),
    )


def _tile(stack: Stack | None, template: int, prompt: int, name: str) -> Thumbnail | None:
    if stack is None:
        return None
    values = stack.values[template, prompt]
    span = stack.scale.span
    tip = f"{stack.layer}, {stack.view}, {name}: {stack.scale.unit}, on a scale of {span}"
    return Thumbnail(values, stack.scale, {"view": stack.view, "layer": stack.layer}, tip, stack.where, note=span)


def _curves(both: xr.Dataset, all_stacks: Sequence[Stack], template: int, prompt: int) -> dict[str, list[float]]:
    """Draw score and agreement by layer, where layers are read in text space; else how alike the maps rank cells."""
    if "layer_agreement" in both:
        mean = both.mean("template") if template == both.sizes["template"] else both.isel(template=template)
        score = [*mean["layer_score"].isel(prompt=prompt).to_numpy(), float(mean["score"].isel(prompt=prompt))]
        agreement = [*both["layer_agreement"].to_numpy(), float(both["global_vs_mean_dense"])]
        return {"score of the global vector": score, "agreement, global with mean dense": agreement}
    pairs: dict[str, dict[str, Stack]] = {}
    for stack in all_stacks:
        if stack.view in dict(ROWS) and stack.axes == TEXT:
            pairs.setdefault(stack.layer, {})[stack.view] = stack
    names = [*map(str, both["layer"].to_numpy()), OUTPUT]
    return {"rank correlation of the two": [_alike(pairs[name], template, prompt) for name in names]}


def _alike(pair: dict[str, Stack], template: int, prompt: int) -> float:
    dense, pooled = (torch.from_numpy(pair[view].values[template, prompt].ravel()) for view, _ in ROWS)
    return float(spearman(dense, pooled))


def _heads(all_stacks: Sequence[Stack]) -> ThumbnailGrid:
    tiles, columns, spans = [], [], []
    for stack in all_stacks:
        if stack.view == "attention":
            maps = stack.values if stack.axes else stack.values[None]
            spans.append(f"{'heads' if stack.axes else 'the mean'} on a scale of {stack.scale.span}")
            for i, values in enumerate(maps):
                head = i if stack.axes else MEAN
                columns.append((f"head {i}" if stack.axes else "mean", False))
                patch = {"view": "attention", "layer": OUTPUT, "head": head}
                tip = f"attention, {columns[-1][0]}: {values.sum():.0%} of the weight goes to positions"
                tiles.append(Thumbnail(values, stack.scale, patch, tip))
    title, note = "where the pooling looks, head by head", f"Weights of the pooling: {', '.join(spans)}."
    return ThumbnailGrid(title, columns, [({}, "", 0.0)], [tiles], note=note, strip=True)
