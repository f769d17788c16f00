"""`explore`: type prompts, drop in an image, and look."""

from collections.abc import Sequence

from denseclip_viz.explorers.controls import TEXTS
from denseclip_viz.explorers.defaults import with_defaults
from denseclip_viz.explorers.panel import ExplorerSpec, Panel, open_panel
from denseclip_viz.explorers.session import Models
from denseclip_viz.images import ImageLike
from denseclip_viz.prompts import Named, Prompts

SPEC = ExplorerSpec("explore", (*TEXTS, "model", "image", "geometry", "refinement", "run"))


def explore(
    model: Models = None,
    image: ImageLike | None = None,
    prompts: Prompts | Named | None = None,
    *,
    lock: str | Sequence[str] = (),
) -> Panel:
    """Open an explorer: prompts, templates, model, image and refinement beside a canvas that moves in the browser.

    A new prompt is answered out of the image's one forward pass; work runs in a thread, and Stop ends it.

    Args:
        model: A model, the name of one, or several to choose from; the bundled ones by default.
        image: A path, a PIL image, an array or a scene; a bundled scene by default.
        prompts: Texts or `Prompts`; of texts, articles are set right inside templates ("a photo of a taxi." for
            "a taxi"). By default what the scene holds, and something that it does not.
        lock: Controls that are not shown, for teachers: "prompts", "absent", "templates", "model", "image",
            "geometry", "refinement", "run", and those of the canvas, such as "view" or "opacity".

    Returns:
        The widget; what it shows is in `result` and `trace`, its canvas in `canvas`.

    Raises:
        PromptError: A control that there is not, or prompts that cannot be used.
        ImageError, ModelNameError, WeightsError: An image or model that cannot be opened.

    Example:
        >>> explorer = explore(lock=["image"])
        >>> explorer.result.sizes["prompt"]
        4
    """
    image, prompts = with_defaults(image, prompts)
    return open_panel(SPEC, model, image, prompts, lock=lock)
