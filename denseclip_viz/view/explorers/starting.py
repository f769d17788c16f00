"""What an explorer shows when little was said: the bundled scene, and prompts that suit a picture."""

from __future__ import annotations

from denseclip_viz.pictures import PictureLike
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.words import said
from denseclip_viz.toyworld.world import scene

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


def starting(picture: PictureLike | None, prompts: Prompts | Named | None) -> tuple[PictureLike, Prompts]:
    """The picture and the prompts that an explorer opens with: what came, and the bundled scene where none did.

    Example:
        >>> starting(None, "a taxi")[1].prompts
        ('a taxi',)
    """
    picture = starting_scene() if picture is None else picture
    return picture, starting_prompts(prompts, picture)


def starting_prompts(prompts: Prompts | Named | None, picture: PictureLike) -> Prompts:
    """Make prompts of what came, or of what a scene holds; articles are set right inside templates.

    Example:
        >>> starting_prompts(None, starting_scene()).prompts
        ('a taxi', 'a limousine', 'a road', 'a whale')
    """
    if isinstance(prompts, Prompts):
        return prompts
    if prompts is not None:
        return Prompts(prompts, articles="right")
    if not isinstance(picture, Scene):
        return Prompts(ANYWHERE, absent=said(ABSENT[0]), articles="right")
    things = list(dict.fromkeys(thing.kind for thing in picture.things))
    gone = next(kind for kind in ABSENT if kind not in things)
    return Prompts([*map(said, things), *map(said, picture.stuff)], absent=said(gone), articles="right")
