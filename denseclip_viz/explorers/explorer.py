"""`explore`: prompts, templates, model, image and refinement beside a canvas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.explorers.compared_side import ComparedSide, read_choice
from denseclip_viz.explorers.examples import with_defaults
from denseclip_viz.explorers.history import History
from denseclip_viz.explorers.multiples import show_multiples
from denseclip_viz.explorers.panel import ExplorerSpec, Panel, open_panel
from denseclip_viz.explorers.session import Models, Session
from denseclip_viz.explorers.thumbnails import Thumbnails
from denseclip_viz.explorers.world_controls import WorldControls
from denseclip_viz.images import ImageLike
from denseclip_viz.prompts import Named, Prompts

EXPLORE = (
    *("prompts", "words", "absent", "templates", "model", "image", "examples", "geometry", "paths", "attributions"),
    *("refinement", "run", "compare", "history"),
)


def explore(
    model: Models = None,
    image: ImageLike | None = None,
    prompts: Prompts | Named | None = None,
    *,
    paths: str | Sequence[str | DensePath] = "value",
    compare_with: Mapping[str, Any] | None = None,
    lock: str | Sequence[str] = (),
) -> Panel:
    """Open an explorer: prompts, templates, model, image and refinement beside a canvas that moves in the browser.

    A new prompt is answered out of the image's one forward pass; work runs in a thread, and Stop ends it.

    Args:
        model: A model, the name of one, or several to choose from; the bundled ones by default.
        image: A path, a PIL image, an array or a scene; a bundled scene by default.
        prompts: Texts or `Prompts`; of texts, articles are set right inside templates ("a photo of a taxi." for
            "a taxi"). By default what the scene holds, and something that it does not.
        paths: To dense features, all of the one pass: names, a list, or "all" of the model. A switch above the image
            shows one or the other without the model.
        compare_with: The same prompts beside it, on one colour scale, and the difference where cells agree: one of
            `{"image": …}`, `{"geometry": "whole"}`, `{"path": "sclip"}`, `{"templates": "scene"}`, `{"model": …}`. A
            control opens, changes and closes it, too.
        lock: Controls that are not shown, for teachers: "prompts", "words", "absent", "templates", "model", "image",
            "examples", "geometry", "paths", "attributions", "refinement", "run", "compare", "history", and those of
            the canvas, such as "view".

    Returns:
        The widget; what it shows is in `result` and `trace`, its canvas in `canvas`, what it is compared with in
        `other`.

    Raises:
        PromptError: A control that there is not, or prompts that cannot be used.
        ImageError, ModelNameError, WeightsError: An image or model that cannot be opened.

    Example:
        >>> import denseclip_viz as dcv
        >>> explorer = dcv.explore(lock=["image"])
        >>> explorer.result.sizes["prompt"]
        4
    """
    image, prompts = with_defaults(image, prompts)
    tiles, session = Thumbnails(), Session(model)
    compared = ComparedSide(session, read_choice(compare_with, session))

    def show(panel: Panel) -> None:
        world.show(panel.model)
        show_multiples(panel.shown, panel.canvas.state, tiles)

    history, world = History(), WorldControls()
    more = {**world.rows, "compare": compared.rows, "history": history.rows}
    spec = ExplorerSpec("explore", EXPLORE, below=(tiles,), show=show, more=more, compared=compared, history=history)
    panel = open_panel(spec, session, image, prompts, lock=lock, paths=paths)
    panel.link_thumbnails(tiles, lambda: show(panel))
    world.on_choice(panel.controls, panel.look_at, panel.run, panel.safe_callback)
    return panel
