"""What people type into the controls, and the prompts that it means."""

from __future__ import annotations

import re
from collections.abc import Iterable

from denseclip_viz.errors import PromptError
from denseclip_viz.prompts import TEMPLATE_SETS, Prompts, template_set
from denseclip_viz.prompts.grammar import two_articles

OWN = "own"
TEMPLATE_CHOICES = (
    ("as typed", "none"),
    ("one: a photo of a …", "single"),
    ("scene, 5", "scene"),
    ("ImageNet, 7", "imagenet-7"),
    ("ImageNet, 80", "imagenet-80"),
    ("MaskCLIP, 85", "maskclip-85"),
    ("my own …", OWN),
)
_PIECE = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?=[,\n]|$)|([^,\n]+)')


def listed(text: str) -> list[str]:
    """Read a list as people type it: one a line, or parted by commas; "quoted, like this" to keep a comma.

    Example:
        >>> listed('a taxi, a road' + chr(10) + '"a car, parked", , a taxi')
        ['a taxi', 'a road', 'a car, parked']
    """
    pieces = (quoted.replace('""', '"') if quoted else plain for quoted, plain in _PIECE.findall(text))
    return list(dict.fromkeys(piece.strip() for piece in pieces if piece.strip()))


def typed(names: Iterable[str]) -> str:
    """Write a list so that `listed` reads it again.

    Example:
        >>> listed(typed(["a taxi", 'a "red, fast" car']))
        ['a taxi', 'a "red, fast" car']
    """
    return "\n".join(f'"{name.replace(chr(34), 2 * chr(34))}"' if _needs_quotes(name) else name for name in names)


def _needs_quotes(name: str) -> bool:
    return "," in name or "\n" in name or name.lstrip().startswith('"')


def choice_of(templates: tuple[str, ...]) -> str:
    """Find the name of a set of templates; `"own"` where it is none.

    Example:
        >>> choice_of(("{}",)), choice_of(("my {}",))
        ('none', 'own')
    """
    return next((name for name in TEMPLATE_SETS if template_set(name) == tuple(templates)), OWN)


def own_templates(text: str) -> tuple[str, ...]:
    """Read templates, one a line.

    Raises:
        PromptError: None are there.

    Example:
        >>> own_templates("a {}, seen" + chr(10))
        ('a {}, seen',)
    """
    lines = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if lines:
        return lines
    fix = 'Write one a line, "a photo of {}." say, or choose a set.'
    raise PromptError("No templates of your own are typed", expected='lines with one "{}" each', fix=fix)


def asked(before: Prompts, *, prompts: str, absent: str, templates: str, own: str = "") -> Prompts:
    """Make prompts of what is typed; synonyms, background marks and switches stay for the names that were there.

    Where a template and a prompt both bring an article, articles are set right, as they are for plain texts.

    Args:
        before: What the explorer was opened with.
        prompts: As typed, for `listed`.
        absent: As typed: what is known not to be in the picture.
        templates: The name of a set, or `"own"`.
        own: Templates of one's own, one a line.

    Raises:
        PromptError: Nothing is typed, or what `Prompts` refuses.

    Example:
        >>> asked(Prompts("x"), prompts="a taxi, a whale", absent="a whale", templates="none")
        Prompts(2 prompts × 1 template = 2 texts, absent: 'a whale'; first: 'a taxi')
    """
    names, gone = listed(prompts), listed(absent)
    if not names:
        fix = "Write one a line, or several with commas."
        raise PromptError("No prompt is typed", expected="at least one, such as: a taxi", fix=fix)
    wordings = dict(zip(before.prompts, before.wordings, strict=True))
    hidden = [name for name, is_so in zip(before.prompts, before.background, strict=True) if is_so and name in names]
    every = {name: wordings.get(name, (name,)) for name in (*names, *gone)}
    chosen = own_templates(own) if templates == OWN else template_set(templates)
    texts = (text for said in every.values() for text in said)
    twice = two_articles(chosen, texts, plural=before.plural) is not None
    return Prompts(
        {name: every[name] for name in names},
        chosen,
        absent={name: every[name] for name in gone},
        background={name: every[name] for name in hidden},
        articles="right" if twice else before.articles,
        plural=before.plural,
    )
