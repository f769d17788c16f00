"""What an explorer opens with where nothing was given: a bundled scene, and prompts of what it holds."""

from denseclip_viz.images import ImageLike
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import noun_phrase
from denseclip_viz.toyworld.world import scene

WORDS = "a large red taxi left of a limousine on a road"
ABSENT = ("whale", "castle", "penguin")  # the first that a scene does not hold is its baseline
ANYWHERE = ("a car", "a tree", "a house", "the sky")


def default_scene() -> Scene:
    """Draw the scene that an explorer opens with.

    Example:
        >>> sorted(thing.kind for thing in default_scene().things)
        ['limousine', 'taxi']
    """
    return scene(WORDS, 320)


def with_defaults(image: ImageLike | None, prompts: Prompts | Named | None) -> tuple[ImageLike, Prompts]:
    """Return the image and the prompts that an explorer opens with: those given, and the bundled ones for None.

    Example:
        >>> with_defaults(None, "a taxi")[1].prompts
        ('a taxi',)
    """
    image = default_scene() if image is None else image
    return image, default_prompts(prompts, image)


def default_prompts(prompts: Prompts | Named | None, image: ImageLike) -> Prompts:
    """Make prompts of those given, or of what a scene holds; articles are set right inside templates.

    Example:
        >>> default_prompts(None, default_scene()).prompts
        ('a taxi', 'a limousine', 'a road', 'a whale')
    """
    if isinstance(prompts, Prompts):
        return prompts
    if prompts is not None:
        return Prompts(prompts, articles="right")
    if not isinstance(image, Scene):
        return Prompts(ANYWHERE, absent=noun_phrase(ABSENT[0]), articles="right")
    things = list(dict.fromkeys(thing.kind for thing in image.things))
    absent = next(kind for kind in ABSENT if kind not in things)
    names = map(noun_phrase, (*things, *image.stuff))
    return Prompts(list(names), absent=noun_phrase(absent), articles="right")
