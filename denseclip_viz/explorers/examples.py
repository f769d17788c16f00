"""What an explorer opens with: a scene of the bundled world, and prompts that name what is in it."""

from denseclip_viz.explorers.query import ImageSource
from denseclip_viz.images import ImageLike
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import noun_phrase
from denseclip_viz.toyworld.world import scene

SCENES = (
    "a large red taxi left of a limousine on a road",
    "a penguin next to a bear in snow",
    "a sailing boat on water and a hot-air balloon in the sky",
    "a knight in front of a castle on grass",
    "a striped teapot left of a dotted mug on tiles",
    "an owl above a fox on leaves",
)
SIDE = 320  # pixels of a scene that is drawn here
ABSENT = ("whale", "castle", "penguin")  # the first that a scene does not hold is its baseline
ANYWHERE = ("a car", "a tree", "a house", "the sky")


def with_defaults(image: ImageLike | None, prompts: Prompts | Named | None) -> tuple[ImageLike, Prompts]:
    """Return the image and the prompts that an explorer opens with: those given, and for None a scene and its things.

    Articles are set right inside templates, but for `Prompts`, which are taken as they are.

    Example:
        >>> with_defaults(None, "a taxi")[1].prompts, with_defaults(None, None)[1].prompts
        (('a taxi',), ('a taxi', 'a limousine', 'a road', 'a whale'))
    """
    image = scene(SCENES[0], SIDE) if image is None else image
    if isinstance(prompts, Prompts):
        return image, prompts
    if prompts is not None:
        return image, Prompts(prompts, articles="right")
    if not isinstance(image, Scene):
        return image, Prompts(ANYWHERE, absent=noun_phrase(ABSENT[0]), articles="right")
    names, absent = names_in(image)
    return image, Prompts(names, absent=absent, articles="right")


def example(words: str) -> ImageSource:
    """Draw a scene of words, which are its name.

    Example:
        >>> example("a taxi on a road").name
        'a taxi on a road'
    """
    return ImageSource(scene(words, SIDE), words)


def names_in(drawn: Scene) -> tuple[list[str], str]:
    """Name what a scene holds, and something that it does not.

    Example:
        >>> names_in(scene("a taxi on a road", 64))
        (['a taxi', 'sky', 'a road'], 'a whale')
    """
    things = list(dict.fromkeys(thing.kind for thing in drawn.things))
    absent = next(kind for kind in ABSENT if kind not in things)
    return list(map(noun_phrase, (*things, *drawn.stuff))), noun_phrase(absent)
