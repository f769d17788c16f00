"""`explore`: type prompts, drop in a picture, and look."""

from __future__ import annotations

from collections.abc import Sequence

from denseclip_viz.pictures import PictureLike
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.view.explorers.bench import Bench
from denseclip_viz.view.explorers.controls import TEXTS
from denseclip_viz.view.explorers.models import Models
from denseclip_viz.view.explorers.panel import Kind, Panel, panel
from denseclip_viz.view.explorers.starting import starting

CONTROLS = (*TEXTS, "model", "picture", "geometry", "refinement", "run")


def explore(
    model: Models = None,
    picture: PictureLike | None = None,
    prompts: Prompts | Named | None = None,
    *,
    lock: str | Sequence[str] = (),
) -> Panel:
    """Open an explorer: prompts, templates, model, picture and refinement beside a canvas that moves in the browser.

    A new prompt is answered out of the picture's one forward pass; work runs in a thread, and Stop ends it.

    Args:
        model: A model, the name of one, or several to choose from; the bundled ones by default.
        picture: A path, a PIL image, an array or a scene; a bundled scene by default.
        prompts: Texts or `Prompts`; of texts, articles are set right inside templates ("a photo of a taxi." for
            "a taxi"). By default what the scene holds, and something that it does not.
        lock: Controls that are not shown, for teachers: "prompts", "absent", "templates", "model", "picture",
            "geometry", "refinement", "run", and those of the canvas, such as "view" or "opacity".

    Returns:
        The widget; what it shows is in `result` and `trace`, its canvas in `canvas`.

    Raises:
        PromptError: A control that there is not, or prompts that cannot be used.
        PictureError, ModelNameError, WeightsError: A picture or model that cannot be opened.

    Example:
        >>> explorer = explore(lock=["picture"])
        >>> explorer.result.sizes["prompt"]
        4
    """
    picture, said = starting(picture, prompts)
    kind = Kind("explore", CONTROLS, answer=Bench.answer, show=lambda panel, answer: None)
    return panel(kind, model, picture, said, lock=lock)
