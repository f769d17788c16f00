"""`explore`: type prompts, drop in an image, and look."""

from __future__ import annotations

from collections.abc import Sequence

from denseclip_viz.explorers.controls import TEXTS
from denseclip_viz.explorers.panel import Kind, Panel, panel
from denseclip_viz.explorers.session import Bench, Models
from denseclip_viz.images import ImageLike
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import said
from denseclip_viz.toyworld.world import scene

CONTROLS = (*TEXTS, "model", "image", "geometry", "refinement", "run")


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
    image, said = starting(image, prompts)
    kind = Kind("explore", CONTROLS, answer=Bench.answer, show=lambda panel, answer: None)
    return panel(kind, model, image, said, lock=lock)


WORDS = "a large red taxi left of a limousine on a road"
ABSENT = ("whale", "castle", "penguin")  # the first that a scene does not hold is its baseline
ANYWHERE = ("a car", "a tree", "a house", "the sky")


def starting_scene() -> Scene:
    """Draw the scene that an explorer opens with.

    Example:
        >>> sorted(thing.kind for thing in starting_scene().things)
        ['limousine', 'taxi']
    """
    return scene(WORDS, 320)


def starting(image: ImageLike | None, prompts: Prompts | Named | None) -> tuple[ImageLike, Prompts]:
    """The image and the prompts that an explorer opens with: what came, and the bundled scene where none did.

    Example:
        >>> starting(None, "a taxi")[1].prompts
        ('a taxi',)
    """
    image = starting_scene() if image is None else image
    return image, starting_prompts(prompts, image)


def starting_prompts(prompts: Prompts | Named | None, image: ImageLike) -> Prompts:
    """Make prompts of what came, or of what a scene holds; articles are set right inside templates.

    Example:
        >>> starting_prompts(None, starting_scene()).prompts
        ('a taxi', 'a limousine', 'a road', 'a whale')
    """
    if isinstance(prompts, Prompts):
        return prompts
    if prompts is not None:
        return Prompts(prompts, articles="right")
    if not isinstance(image, Scene):
        return Prompts(ANYWHERE, absent=said(ABSENT[0]), articles="right")
    things = list(dict.fromkeys(thing.kind for thing in image.things))
    gone = next(kind for kind in ABSENT if kind not in things)
    return Prompts([*map(said, things), *map(said, image.stuff)], absent=said(gone), articles="right")
