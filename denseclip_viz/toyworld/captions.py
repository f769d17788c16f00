"""Captions as on the web: many ways to say the same, often no background, often only part of what is there."""

from collections.abc import Sequence

from denseclip_viz.toyworld.claims import Phrase, Thing, fits, related
from denseclip_viz.toyworld.rng import Rng, chance, pick, shuffled
from denseclip_viz.toyworld.vocabulary import COUNTED, GROUPS, KINDS, RELATIONS, STUFF, SYNONYMS, plural, with_article

_OPENERS = (
    "a photo of {}", "a picture of {}", "an image of {}", "a drawing of {}", "an illustration of {}",
    "a scene with {}", "a picture showing {}", "there is {}", "there is {} in the scene", "here is {}",
    "this is {}", "you can see {}", "we see {}", "{} in the picture", "{} somewhere in the scene", "look: {}",
)  # fmt: skip
_STUFF_OPENERS = ("a photo of {}", "a picture of {}", "a scene with {}", "we see {}", "an illustration of {}")
# "under" is read, and never written
_RELATION_PHRASES = {
    relation: (relation, *(word for word in words if word != "under")) for relation, words in RELATIONS.items()
}
_AFTER = {"striped": "with stripes", "dotted": "with dots", "checked": "with checks"}
_DENIALS = (
    "no {bare}", "there is no {bare} in the scene", "a picture with no {bare}",
    "without {phrase}", "a photo without {phrase}", "a picture without {phrase}", "a scene without {phrase}",
    "nothing like {phrase}", "a photo of nothing like {phrase}", "{more} without {phrase}", "{more} without {phrase}",
    "{more}, without {phrase}", "{more} and no {bare}", "{more}, no {bare}",
)  # fmt: skip
_NUMBERS = ("", "", "two", "three", "four", "five")


def caption(rng: Rng, things: Sequence[Thing], stuff: Sequence[str], *, side: float) -> str:
    """Write a true caption; ``things`` and ``stuff`` are what is seen well enough to be named."""
    if not things or (stuff and chance(rng, 0.08)):
        return _finished(rng, _only_stuff(rng, stuff), _STUFF_OPENERS)
    most = pick(rng, (1, 2, 5), (0.46, 0.32, 0.22))
    named = shuffled(rng, things)[:most]
    if chance(rng, 0.07):
        return ", ".join(["".join(_noun_phrase(rng, thing)) for thing in named] + [pick(rng, stuff)] * chance(rng, 0.4))
    body, meant = _body(rng, named, things, side)
    return _finished(rng, body + _place(rng, meant, stuff), _OPENERS)


def brief(rng: Rng, things: Sequence[Thing], stuff: Sequence[str]) -> str:
    """Write a true caption that names one thing, or one stuff, and hardly more: how most alt texts are."""
    if not things or (stuff and chance(rng, 0.25)):
        return _stuff(rng, pick(rng, stuff))
    thing = pick(rng, things)
    noun = _noun(rng, thing)
    adjective = "" if chance(rng, 0.7) else pick(rng, (thing.colour, thing.colour, thing.surface, thing.size))
    words = f"{_other(rng, adjective)} {noun}" if adjective not in ("", "plain", "medium") else noun
    return with_article(words)


def negated(rng: Rng, things: Sequence[Thing], stuff: Sequence[str], *, more: str) -> str:
    """Write a true caption of what is missing, alone or after ``more``; things and stuff are all that is there."""
    bare = _missing(rng, things, stuff)
    phrase = _stuff(rng, bare) if bare in STUFF else with_article(bare)
    return pick(rng, _DENIALS).format(bare=bare, phrase=phrase, more=more)


def _missing(rng: Rng, things: Sequence[Thing], stuff: Sequence[str]) -> str:
    """Pick a group, a stuff or a kind of which there is none at all: groups and stuff are missed more often."""
    groups = [group for group in GROUPS if not any(fits(Phrase(group), thing) for thing in things)]
    if groups and chance(rng, 0.35):
        return pick(rng, groups)
    if chance(rng, 0.5):
        return pick(rng, [name for name in STUFF if name not in stuff])
    return pick(rng, [kind for kind in KINDS if all(kind != thing.kind for thing in things)])


def _body(rng: Rng, named: Sequence[Thing], things: Sequence[Thing], side: float) -> tuple[str, Sequence[Thing]]:
    """Write the things named, with a relation or a count where that is true; return which things it means too."""
    first = named[0]
    if len(named) == 2 and chance(rng, 0.6):
        true = _true_relations(first, named[1], side)
        if true:
            words = pick(rng, _RELATION_PHRASES[pick(rng, true)])
            return f"{_phrase(rng, first)} {words} {_phrase(rng, named[1])}", named
    twins = [thing for thing in things if thing.kind == first.kind]
    if 1 < len(twins) and chance(rng, 0.7):
        others = [thing for thing in named if thing.kind != first.kind]
        number = f"{_NUMBERS[len(twins)]} {plural(first.kind)}"
        return _listed([number, *(_phrase(rng, thing) for thing in others)]), [*twins, *others]
    return _listed([_phrase(rng, thing) for thing in named]), named


def _true_relations(one: Thing, other: Thing, side: float) -> list[str]:
    nearer = one.depth < other.depth
    return [word for word in _RELATION_PHRASES if related(word, one.box, other.box, nearer=nearer, side=side)]


def _phrase(rng: Rng, thing: Thing) -> str:
    """Name a thing with its article."""
    words, after = _noun_phrase(rng, thing)
    if chance(rng, 0.08):
        return f"the {words}{after}"
    return with_article(words) + after


def _noun_phrase(rng: Rng, thing: Thing) -> tuple[str, str]:
    """Pick adjectives and noun, and what follows the noun."""
    noun = _noun(rng, thing)
    size = _other(rng, thing.size) if chance(rng, 0.03 if thing.size == "medium" else 0.36) else ""
    colour = _other(rng, thing.colour) if chance(rng, 0.74) else ""
    surface, after = "", ""
    if thing.surface != "plain" and chance(rng, 0.72):
        if chance(rng, 0.22):
            after = f" {_AFTER[thing.surface]}"
        else:
            surface = _other(rng, thing.surface)
    elif thing.surface == "plain" and chance(rng, 0.04):
        surface = "plain"
    adjectives = [surface, colour] if chance(rng, 0.7) else [colour, surface]
    return " ".join(word for word in (size, *adjectives, noun) if word), after


def _noun(rng: Rng, thing: Thing) -> str:
    """Pick the kind, or now and then a synonym or a group that it belongs to."""
    groups = [group for group in GROUPS if fits(Phrase(group), thing)]
    if groups and chance(rng, 0.08):
        return pick(rng, groups)
    if thing.kind in SYNONYMS and chance(rng, 0.12):
        return pick(rng, SYNONYMS[thing.kind])
    return thing.kind


def _other(rng: Rng, name: str) -> str:
    """Pick the name, or now and then a synonym."""
    return pick(rng, SYNONYMS[name]) if name in SYNONYMS and chance(rng, 0.25) else name


def _listed(parts: Sequence[str]) -> str:
    if len(parts) < 3:
        return " and ".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _only_stuff(rng: Rng, stuff: Sequence[str]) -> str:
    names = shuffled(rng, stuff)[: pick(rng, (1, 2, 3), (0.35, 0.4, 0.25))]
    return _listed([_stuff(rng, name) for name in names])


def _stuff(rng: Rng, name: str) -> str:
    """Name a stuff, with the article that it needs."""
    word = pick(rng, SYNONYMS[name]) if name in SYNONYMS and chance(rng, 0.15) else name
    if word in COUNTED:
        return f"{'the' if chance(rng, 0.4) else 'a'} {word}"
    return f"the {word}" if name == "sky" or chance(rng, 0.25) else word


def _place(rng: Rng, named: Sequence[Thing], stuff: Sequence[str]) -> str:
    """Write where it all stands, or what else is there; often nothing."""
    grounds = {thing.on for thing in named}
    ground = named[0].on
    if len(grounds) == 1 and ground is not None and chance(rng, 0.45):
        comma = "," if len(named) > 1 and chance(rng, 0.5) else ""
        return f"{comma} {STUFF[ground]} {_stuff(rng, ground)}"
    if stuff and chance(rng, 0.14):
        phrase = _stuff(rng, pick(rng, stuff))
        return pick(rng, (f" and {phrase}", f", {phrase}", f", {phrase} in the background"))
    return ""


def _finished(rng: Rng, body: str, openers: Sequence[str]) -> str:
    """Put the words in a frame, with a capital or a full stop now and then."""
    text = body
    if chance(rng, 0.45):
        opener = pick(rng, openers)
        if body.split(" ")[0] in _NUMBERS:
            opener = opener.replace("this is", "these are").replace(" is ", " are ")
        text = opener.format(body)
    if chance(rng, 0.25):
        text = text[0].upper() + text[1:]
    return f"{text}." if chance(rng, 0.25) else text
