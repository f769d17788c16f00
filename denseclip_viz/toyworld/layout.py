"""Which stuff and things a scene has, and where they stand: by chance with taste, or so that claims are true."""

from collections.abc import Sequence
from dataclasses import replace

from denseclip_viz.toyworld.claims import Claims, related
from denseclip_viz.toyworld.rng import Rng, between, chance, pick, shuffled
from denseclip_viz.toyworld.scene_plan import Edge, Light, Plan, StuffPlan, ThingPlan
from denseclip_viz.toyworld.sprites import frame_of
from denseclip_viz.toyworld.textures import VARIANTS
from denseclip_viz.toyworld.vocabulary import COLOURS, FAMILIES, FAMILY_OF, KINDS, SIZES, STUFF, SURFACES, Rgb

MOST_THINGS = 5
BACKS = ("sky", "night sky", "brick wall")
_BEHIND = (*BACKS, "mountains")  # from the back; nothing stands on them
_GROUNDS = ("grass", "sand", "water", "snow", "road", "leaves", "wooden floor", "tiles")
_FLYERS = frozenset(FAMILIES["aircraft"]) | {"owl"}
_TILTED = _FLYERS | frozenset(FAMILIES["sea animal"])
_TRIES = 400

# What stripes, dots and checks are painted with: (rather light, rather dark).
_SECOND: dict[str, tuple[Rgb, Rgb]] = {
    "yellow": ((255, 252, 240), (92, 62, 34)),
    "white": ((122, 136, 158), (60, 66, 84)),
    "black": ((244, 240, 230), (168, 174, 186)),
    "pink": ((255, 250, 246), (140, 44, 84)),
}
_SECOND_LIGHT: Rgb = (255, 249, 238)


def sample(rng: Rng, *, kinds: Sequence[str] | None = None) -> Plan:
    """Plan a scene by chance, with the given kinds or kinds drawn by chance too."""
    stuff = stuff_layers(rng, stuff_names(rng))
    named = _kinds(rng) if kinds is None else list(kinds)
    things = [thing(rng, kind, among=len(named)) for kind in named]
    plan = Plan(stuff, (), light(rng, stuff))
    return placed(rng, plan, things, drop=kinds is None)


def stage(claims: Claims, rng: Rng) -> Plan | None:
    """Plan a scene that should make the claims true; return None if no plan does."""
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
    names = sorted(claims.stuff, key=lambda name: _BEHIND.index(name) if name in _BEHIND else len(_BEHIND))
    if not names:
        return stuff_names(rng)
    if names[0] == "mountains" or (len(names) == 1 and names[0] not in _BEHIND and chance(rng, 0.6)):
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


def _kinds(rng: Rng) -> list[str]:
    """Draw which things there are: mostly independent, sometimes siblings or twins."""
    count = pick(rng, range(MOST_THINGS + 1), (0.05, 0.3, 0.29, 0.2, 0.1, 0.06))
    kinds = [pick(rng, KINDS) for _ in range(count)]
    if count >= 2 and chance(rng, 0.3):
        others = [kind for kind in FAMILIES[FAMILY_OF[kinds[0]]] if kind != kinds[0]]
        kinds[1] = kinds[0] if chance(rng, 0.25) else pick(rng, others)
    return kinds


def stuff_names(rng: Rng) -> list[str]:
    """Draw one to three stuffs, back to front, mostly as they occur together."""
    style = float(rng.random())
    if style < 0.2:
        return [pick(rng, [name for name in STUFF if name != "mountains"])]
    if style < 0.4:
        return shuffled(rng, [name for name in STUFF if name != "mountains"])[: 2 if chance(rng, 0.7) else 3]
    back = pick(rng, BACKS, (0.37, 0.37, 0.26))
    middle = ["mountains"] if back != "brick wall" and chance(rng, 0.5) else []
    grounds = shuffled(rng, _GROUNDS)
    two = not middle and chance(rng, 0.3)
    return [back, *middle, *grounds[: 2 if two else 1]]


def stuff_layers(rng: Rng, names: Sequence[str]) -> tuple[StuffPlan, ...]:
    """Draw where each stuff begins; the first is everywhere."""
    natural = names[0] in BACKS or "mountains" in names
    upright = not natural and chance(rng, 0.45)
    at = _starts(rng, names)
    layers = []
    for name, start in zip(names, at, strict=True):
        edge = None if start is None else _edge(rng, name, start, upright=upright)
        tint = _tint(rng, 0.07, 0.04)
        cut = float(rng.random()), float(rng.random())
        layers.append(StuffPlan(name, int(rng.random() * VARIANTS), cut, chance(rng, 0.5), tint, edge))
    return tuple(layers)


def _starts(rng: Rng, names: Sequence[str]) -> list[float | None]:
    """Draw the height at which each stuff begins."""
    if len(names) == 2:
        return [None, between(rng, 0.02, 0.2) if names[1] == "mountains" else between(rng, 0.28, 0.68)]
    if len(names) == 3 and names[1] == "mountains":
        peak = between(rng, 0.0, 0.2)
        return [None, peak, peak + between(rng, 0.36, 0.5)]
    first = between(rng, 0.26, 0.42)
    return [None, first, first + between(rng, 0.22, 0.32)][: len(names)]


def _edge(rng: Rng, name: str, at: float, *, upright: bool) -> Edge:
    if name in ("road", "water", "wooden floor", "tiles"):
        slope, wave = (between(rng, -0.05, 0.05) if chance(rng, 0.3) else 0.0), 0.0
    else:
        slope, wave = between(rng, -0.14, 0.14), between(rng, 0.0, 0.035)
    turns, phase = between(rng, 0.6, 2.4), float(rng.random())
    if name == "mountains":
        return Edge(at)
    return Edge(at, slope, wave, turns, phase, upright)


def thing(rng: Rng, kind: str, *, among: int = 1, **given: str) -> ThingPlan:
    """Draw a thing of a kind; ``colour``, ``surface`` and ``size`` are drawn where they are not given."""
    shares = {1: (0.16, 0.42, 0.42), 2: (0.28, 0.46, 0.26), 3: (0.36, 0.5, 0.14)}.get(among, (0.55, 0.45, 0.0))
    colour = pick(rng, tuple(COLOURS))
    surface = pick(rng, SURFACES, (0.46, 0.18, 0.18, 0.18))
    size = pick(rng, tuple(SIZES), shares)
    colour, surface, size = (given.get(k) or v for k, v in (("colour", colour), ("surface", surface), ("size", size)))
    weave = "striped across" if surface == "striped" and chance(rng, 0.5) else surface
    shape, stretch = frame_of(kind), between(rng, 0.93, 1.07)
    side = between(rng, *SIZES[size])
    side = min(side, 0.92 / (shape.width * stretch), 0.92 * stretch / shape.height)
    turn = between(rng, -14, 14) if kind in _TILTED else between(rng, -3, 3)
    main, second = paints(rng, colour)
    flip = chance(rng, 0.5)
    return ThingPlan(kind, colour, surface, weave, size, side, 0.5, 0.5, flip, turn, stretch, main, second)


def paints(rng: Rng, colour: str) -> tuple[Rgb, Rgb]:
    """Draw a tone of the colour, and the colour of its stripes."""
    light, together = between(rng, 0.92, 1.06), between(rng, -6, 6)
    base = pick(rng, COLOURS[colour])
    main = tuple(int(min(max(c * light + together + between(rng, -7, 7), 0), 255)) for c in base)
    lighter, darker = _SECOND.get(colour, (_SECOND_LIGHT, tuple(int(c * 0.42) for c in main)))
    second = lighter if chance(rng, 0.62) else darker
    return (main[0], main[1], main[2]), (second[0], second[1], second[2])


def light(rng: Rng, stuff: Sequence[StuffPlan]) -> Light:
    """Draw day or dusk, a slope of brightness, grain and a little blur."""
    tint = _tint(rng, 0.11, 0.035)
    if any(layer.name == "night sky" for layer in stuff) and chance(rng, 0.4):
        tint = tint[0] * 0.84, tint[1] * 0.88, tint[2] * 0.98
    blur = between(rng, 0.0018, 0.0045) if chance(rng, 0.25) else 0.0
    return Light(
        tint=tint,
        across=between(rng, -0.22, 0.22),
        down=between(rng, -0.16, 0.16),
        corners=between(rng, 0.0, 0.09),
        noise=between(rng, 0.5, 6.0) * float(rng.random()),
        noise_at=(float(rng.random()), float(rng.random())),
        blur=blur,
    )


def _tint(rng: Rng, brightness: float, hue: float) -> tuple[float, float, float]:
    bright = 1 + between(rng, -brightness, brightness)
    warm, green = between(rng, -hue, hue), between(rng, -hue, hue) / 2
    return bright * (1 + warm), bright * (1 + green), bright * (1 - warm)


def placed(rng: Rng, plan: Plan, things: Sequence[ThingPlan], *, drop: bool) -> Plan:
    """Place the things where there is room; the nearer ones, lower in the image, come last."""
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
    """Draw a place that touches another thing, before or behind it."""
    (left, top, right, bottom), (a, _, b, base) = item.box, other.box
    wide, tall = right - left, bottom - top
    reach = (wide + b - a) / 2 * between(rng, 0.3, 0.85)
    x = other.x + (reach if chance(rng, 0.5) else -reach)
    y = base + between(rng, -0.14, 0.14) - tall / 2
    return replace(item, x=min(max(x, wide * 0.43), 1 - wide * 0.43), y=min(max(y, tall * 0.45), 1 - tall * 0.47))


def somewhere(rng: Rng, plan: Plan, item: ThingPlan) -> ThingPlan:
    """Draw a place for one thing: on the ground or in the air as suits it, mostly."""
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
    if item.kind in _FLYERS:
        lowest = max(min(lowest, line), highest)
    else:
        highest = min(max(highest, line + 0.04 - tall / 2), lowest)
    return replace(item, x=x, y=highest + at * (lowest - highest))


def grounded(plan: Plan, item: ThingPlan) -> ThingPlan:
    """Give a thing a shadow, where there is ground below."""
    below = plan.stuff_at(item.x, min(item.box[3], 0.99))
    return replace(item, shadow=0.0 if below in _BEHIND or abs(item.turn) > 3 else 0.34)


def overlap(one: ThingPlan, other: ThingPlan) -> float:
    """Return the shared area of two boxes as a share of the smaller one."""
    a, b = one.box, other.box
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or tall <= 0:
        return 0.0
    return wide * tall / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
