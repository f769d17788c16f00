"""Whether words are true of a scene: relations between boxes, and claims as a whole."""

from collections.abc import Sequence

from denseclip_viz.toyworld.parser import Claims, Phrase
from denseclip_viz.toyworld.thing import Thing

Box = tuple[float, float, float, float]


def fits(phrase: Phrase, thing: Thing) -> bool:
    """Tell whether a thing may be called so.

    Example:
        >>> from types import SimpleNamespace as Any
        >>> oak = Any(kind="oak", colour="red", surface="plain", size="small")
        >>> fits(Phrase("tree", colour="red"), oak), fits(Phrase("pine"), oak)
        (True, False)
    """
    looks = ((phrase.colour, thing.colour), (phrase.surface, thing.surface), (phrase.size, thing.size))
    return thing.kind in phrase.kinds and all(claimed in (None, actual) for claimed, actual in looks)


def related(relation: str, one: Box, other: Box, *, nearer: bool, side: float) -> bool:
    """Tell whether ``one`` stands so to ``other``; boxes are left, top, right, bottom in an image of ``side``.

    *Left of* and *above* ask that neither box reaches the other's middle; *next to* asks for a gap below 0.15
    of the side and shared height; *in front of* asks that the boxes share more than 5 % of the smaller one.

    Example:
        >>> related("left of", (0, 0, 4, 4), (5, 0, 9, 4), nearer=False, side=10)
        True
    """
    if relation in ("right of", "below", "behind"):
        flipped = {"right of": "left of", "below": "above", "behind": "in front of"}[relation]
        return related(flipped, other, one, nearer=not nearer, side=side)
    if relation in ("left of", "above"):
        low, high = (0, 2) if relation == "left of" else (1, 3)
        return (one[low] + one[high]) / 2 < other[low] and one[high] < (other[low] + other[high]) / 2
    wide, tall = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    if relation == "next to":
        shared = tall / min(one[3] - one[1], other[3] - other[1])
        return -0.15 * side < wide < 0.04 * side and shared > 0.5
    area = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return nearer and wide > 0 and tall > 0 and wide * tall > 0.05 * area


def holds(claims: Claims, things: Sequence[Thing], stuff: Sequence[str], *, side: float) -> bool:
    """Tell whether all claims hold at once, each phrase meaning a thing of its own.

    Example:
        >>> from denseclip_viz.toyworld.parser import parse
        >>> holds(parse("grass and sky"), [], ["sky", "grass"], side=160)
        True
    """
    if not set(claims.stuff) <= set(stuff) or set(claims.no_stuff) & set(stuff):
        return False
    if any(fits(phrase, thing) for phrase in claims.no_things for thing in things):
        return False
    for index, count in claims.counts:
        if sum(fits(claims.things[index], thing) for thing in things) != count:
            return False
    return _assigned(claims, things, [], side)


def _assigned(claims: Claims, things: Sequence[Thing], chosen: list[Thing], side: float) -> bool:
    """Try every thing for the next phrase."""
    index = len(chosen)
    if index == len(claims.things):
        return all(
            related(word, chosen[i].box, chosen[j].box, nearer=chosen[i].depth < chosen[j].depth, side=side)
            for i, word, j in claims.relations
        )
    places = [stuff for i, stuff in claims.places if i == index]
    for thing in things:
        free = all(thing is not other for other in chosen)
        if free and fits(claims.things[index], thing) and all(thing.on == place for place in places):
            if _assigned(claims, things, [*chosen, thing], side):
                return True
    return False
