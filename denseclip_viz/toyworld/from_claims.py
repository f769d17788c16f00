"""From claims to a plan: a scene of which given words are true."""

from collections.abc import Sequence
from dataclasses import replace

from denseclip_viz.toyworld.claims import Claims, related
from denseclip_viz.toyworld.layout import grounded, light, overlap, somewhere, stuff_layers, stuff_names, thing
from denseclip_viz.toyworld.rng import Rng, between, chance, pick
from denseclip_viz.toyworld.scene_plan import Plan, ThingPlan

_ORDER = ("sky", "night sky", "brick wall", "mountains")
_TRIES = 400


def stage(claims: Claims, rng: Rng) -> Plan | None:
    """Plan a scene that should make the claims true; return None if no plan does.

    Example:
        >>> from denseclip_viz.toyworld.rng import stream
        >>> from denseclip_viz.toyworld.claims import parse
        >>> plan = stage(parse("a red taxi on a road"), stream(1))
        >>> [(t.kind, t.colour) for t in plan.things]
        [('taxi', 'red')]
    """
    kinds = [pick(rng, phrase.kinds) for phrase in claims.things]
    for _ in range(_TRIES):
        layers = stuff_layers(rng, _stuff(claims, rng))
        plan = Plan(layers, (), light(rng, layers))
        things = _put(claims, plan, _cast(claims, kinds, rng), rng)
        if things is not None:
            nearest_last = sorted((grounded(plan, item) for item in things), key=lambda item: item.box[3])
            return replace(plan, things=tuple(nearest_last))
    return None


def _stuff(claims: Claims, rng: Rng) -> list[str]:
    """List the stuff named, back to front; one that stands alone may get a sky."""
    names = sorted(claims.stuff, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    if not names:
        return stuff_names(rng)
    if names[0] == "mountains" or (len(names) == 1 and names[0] not in _ORDER and chance(rng, 0.6)):
        return ["sky", *names]
    return names


def _cast(claims: Claims, kinds: Sequence[str], rng: Rng) -> list[ThingPlan]:
    """Draw the things with the looks that are claimed; the others are mostly modest."""
    cast = []
    for phrase, kind in zip(claims.things, kinds, strict=True):
        surface = phrase.surface or ("plain" if chance(rng, 0.75) else None)
        size = phrase.size or ("medium" if chance(rng, 0.6) else None)
        looks = {"colour": phrase.colour, "surface": surface, "size": size}
        given = {key: value for key, value in looks.items() if value}
        cast.append(thing(rng, kind, among=len(kinds), **given))
    return cast


def _put(claims: Claims, plan: Plan, things: list[ThingPlan], rng: Rng) -> list[ThingPlan] | None:
    """Place all things, one after the other; return None where one does not fit."""
    done: list[ThingPlan] = []
    for index, item in enumerate(things):
        ground = dict(claims.places).get(index)
        for _ in range(30):
            trial = _near(claims, index, somewhere(rng, plan, item), done, rng)
            if ground is not None and plan.stuff_at(trial.x, min(trial.box[3], 0.98)) != ground:
                continue
            if _agrees(claims, index, trial, done):
                done.append(trial)
                break
        else:
            return None
    return done


def _near(claims: Claims, index: int, item: ThingPlan, done: Sequence[ThingPlan], rng: Rng) -> ThingPlan:
    """Move a thing closer to the one that it is claimed to touch."""
    for i, word, j in claims.relations:
        other = j if i == index else i
        if index not in (i, j) or other >= len(done) or word not in ("in front of", "behind", "next to"):
            continue
        a, b = item.box, done[other].box
        reach = (a[2] - a[0] + b[2] - b[0]) / 2
        share = between(rng, 0.98, 1.2) if word == "next to" else between(rng, 0.3, 0.85)
        x = done[other].x + reach * share * (1 if chance(rng, 0.5) else -1)
        return replace(item, x=x) if -0.05 < x - (a[2] - a[0]) / 2 and x + (a[2] - a[0]) / 2 < 1.05 else item
    return item


def _agrees(claims: Claims, index: int, item: ThingPlan, done: Sequence[ThingPlan]) -> bool:
    """Tell whether what is claimed of the thing and of those before it is so."""
    placed = [*done, item]
    touching = set()
    for i, word, j in claims.relations:
        if max(i, j) != index:
            continue
        one, other = placed[i], placed[j]
        if not related(word, one.box, other.box, nearer=one.box[3] > other.box[3], side=1.0):
            return False
        if word in ("in front of", "behind"):
            touching.add(min(i, j))
    return all(overlap(item, other) < (0.5 if k in touching else 0.22) for k, other in enumerate(done))
