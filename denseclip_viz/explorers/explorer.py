"""`explore`: type prompts, drop in an image, and look."""

from collections.abc import Sequence

from denseclip_viz.explorers.controls import TEXTS
from denseclip_viz.explorers.panel import ExplorerSpec, Panel, open_panel
from denseclip_viz.explorers.session import Models
from denseclip_viz.images import ImageLike
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import noun_phrase
from denseclip_viz.toyworld.world import scene

SPEC = ExplorerSpec("explore", (*TEXTS, "model", "image", "geometry", "refinement", "run"))
WORDS = "a large red taxi left of a limousine on a road"
ABSENT = ("whale", "castle", "penguin")  # the first that a scene does not hold is its baseline
ANYWHERE = ("a car", "a tree", "a house", "the sky")


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


def with_defaults(image: ImageLike | None, prompts: Prompts | Named | None) -> tuple[ImageLike, Prompts]:
    """Return the image and the prompts that an explorer opens with: those given, and for None a scene and its things.

    Articles are set right inside templates, but for `Prompts`, which are taken as they are.

    Example:
        >>> with_defaults(None, "a taxi")[1].prompts, with_defaults(None, None)[1].prompts
        (('a taxi',), ('a taxi', 'a limousine', 'a road', 'a whale'))
    """
    image = scene(WORDS, 320) if image is None else image
    if isinstance(prompts, Prompts):
        return image, prompts
    if prompts is not None:
        return image, Prompts(prompts, articles="right")
    if not isinstance(image, Scene):
        return image, Prompts(ANYWHERE, absent=noun_phrase(ABSENT[0]), articles="right")
    things = list(dict.fromkeys(thing.kind for thing in image.things))
    absent = next(kind for kind in ABSENT if kind not in things)
    names = map(noun_phrase, (*things, *image.stuff))
    return image, Prompts(list(names), absent=noun_phrase(absent), articles="right")
