"""Where things stand: with room, sometimes one before the other, nearer ones lower in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from denseclip_viz.toyworld.chance import Rng, between, chance, pick
from denseclip_viz.toyworld.plans import Plan, ThingPlan
from denseclip_viz.toyworld.vocabulary import FAMILIES

FLYERS = frozenset(FAMILIES["aircraft"]) | {"owl"}
_NO_GROUND = frozenset({"sky", "night sky", "brick wall", "mountains"})


def placed(rng: Rng, plan: Plan, things: Sequence[ThingPlan], *, drop: bool) -> Plan:
    """The plan with the things where there is room; the nearer ones, lower in the picture, come last.

    Example:
        >>> from denseclip_viz.toyworld.chance import stream
        >>> from denseclip_viz.toyworld.layout import sample, thing
        >>> plan = sample(stream(1), kinds=["cat"])
        >>> len(placed(stream(2), plan, plan.things, drop=False).things)
        1
    """
    done: list[ThingPlan] = []
    for item in sorted(things, key=lambda t: -t.side):
        beside = pick(rng, done) if done and chance(rng, 0.4) else None
        allowed = 0.5 if beside else pick(rng, (0.05, 0.25, 0.5), (0.5, 0.3, 0.2))
        best, worst = item, 2.0
        for _ in range(14):
            trial = _beside(rng, item, beside) if beside else somewhere(rng, plan, item)
            hidden = max((overlap(trial, other) for other in done), default=0.0)
            if hidden < worst:
                best, worst = trial, hidden
            if worst <= allowed:
                break
        if worst <= 0.55 or not drop:
            done.append(grounded(plan, best))
    return replace(plan, things=tuple(sorted(done, key=lambda t: t.box[3])))


def _beside(rng: Rng, item: ThingPlan, other: ThingPlan) -> ThingPlan:
    """A place that touches another thing, before or behind it."""
    (left, top, right, bottom), (a, _, b, base) = item.box, other.box
    wide, tall = right - left, bottom - top
    reach = (wide + b - a) / 2 * between(rng, 0.3, 0.85)
    x = other.x + (reach if chance(rng, 0.5) else -reach)
    y = base + between(rng, -0.14, 0.14) - tall / 2
    return replace(item, x=min(max(x, wide * 0.43), 1 - wide * 0.43), y=min(max(y, tall * 0.45), 1 - tall * 0.47))


def somewhere(rng: Rng, plan: Plan, item: ThingPlan) -> ThingPlan:
    """A place for one thing: on the ground or in the air as suits it, mostly.

    Example:
        >>> from denseclip_viz.toyworld.chance import stream
        >>> from denseclip_viz.toyworld.layout import sample, thing
        >>> rng = stream(1)
        >>> 0 < somewhere(rng, sample(rng, kinds=[]), thing(rng, "cat")).x < 1
        True
    """
    left, top, right, bottom = item.box
    wide, tall = right - left, bottom - top
    slack = 0.07
    x = between(rng, wide / 2 - slack * wide, 1 - wide / 2 + slack * wide)
    lowest, highest = 1.0 - tall / 2 + slack * tall / 2, tall / 2 - slack * tall
    horizon = plan.stuff[-1].edge
    suits, at = float(rng.random()), float(rng.random())
    if horizon is None or horizon.upright or suits < 0.25:
        return replace(item, x=x, y=highest + at * (lowest - highest))
    line = horizon.place(x)
    if item.kind in FLYERS:
        lowest = max(min(lowest, line), highest)
    else:
        highest = min(max(highest, line + 0.04 - tall / 2), lowest)
    return replace(item, x=x, y=highest + at * (lowest - highest))


def grounded(plan: Plan, item: ThingPlan) -> ThingPlan:
    """With a shadow, where there is ground below.

    Example:
        >>> from denseclip_viz.toyworld.chance import stream
        >>> from denseclip_viz.toyworld.layout import sample, thing
        >>> grounded(sample(stream(1), kinds=[]), thing(stream(1), "cat")).shadow in (0.0, 0.34)
        True
    """
    below = plan.stuff_at(item.x, min(item.box[3], 0.99))
    return replace(item, shadow=0.0 if below in _NO_GROUND or abs(item.turn) > 3 else 0.34)


def overlap(one: ThingPlan, other: ThingPlan) -> float:
    """Shared area of two boxes as a share of the smaller one.

    Example:
        >>> from denseclip_viz.toyworld.chance import stream
        >>> from denseclip_viz.toyworld.layout import sample, thing
        >>> cat = thing(stream(1), "cat")
        >>> round(overlap(cat, cat), 6)
        1.0
    """
    a, b = one.box, other.box
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or tall <= 0:
        return 0.0
    return wide * tall / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
