"""What is typed into an explorer, as prompts and templates."""

import re
from collections.abc import Iterable

from denseclip_viz.errors import PromptError
from denseclip_viz.prompts import TEMPLATE_SETS, Prompts, template_set
from denseclip_viz.prompts.articles import two_articles

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


def parse_list(text: str) -> list[str]:
    """Read a list as people type it: one a line, or parted by commas; "quoted, like this" to keep a comma.

    Example:
        >>> parse_list('a taxi, a road' + chr(10) + '"a car, parked", , a taxi')
        ['a taxi', 'a road', 'a car, parked']
    """
    pieces = (quoted.replace('""', '"') if quoted else plain for quoted, plain in _PIECE.findall(text))
    return list(dict.fromkeys(piece.strip() for piece in pieces if piece.strip()))


def format_list(names: Iterable[str]) -> str:
    """Write a list so that `parse_list` reads it again.

    Example:
        >>> parse_list(format_list(["a taxi", 'a "red, fast" car']))
        ['a taxi', 'a "red, fast" car']
    """
    return "\n".join(f'"{name.replace(chr(34), 2 * chr(34))}"' if _needs_quotes(name) else name for name in names)


def _needs_quotes(name: str) -> bool:
    return "," in name or "\n" in name or name.lstrip().startswith('"')


def template_choice(templates: tuple[str, ...]) -> str:
    """Find the name of a set of templates; `"own"` where it is none.

    Example:
        >>> template_choice(("{}",)), template_choice(("my {}",))
        ('none', 'own')
    """
    return next((name for name in TEMPLATE_SETS if template_set(name) == tuple(templates)), OWN)


def parse_templates(text: str) -> tuple[str, ...]:
    """Read templates, one a line.

    Raises:
        PromptError: None are there.

    Example:
        >>> parse_templates("a {}, seen" + chr(10))
        ('a {}, seen',)
    """
    lines = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if lines:
        return lines
    fix = 'Write one a line, "a photo of {}." say, or choose a set.'
    raise PromptError("No templates of your own are typed", expected='lines with one "{}" each', fix=fix)


def read_prompts(before: Prompts, *, prompts: str, absent: str, templates: str, own: str = "") -> Prompts:
    """Make prompts of what is typed; synonyms, background marks and switches stay for the names that were there.

    Where a template and a prompt both bring an article, articles are set right, as they are for plain texts.

    Args:
        before: What the explorer was opened with.
        prompts: As typed, for `parse_list`.
        absent: As typed: what is known not to be in the image.
        templates: The name of a set, or `"own"`.
        own: Templates of one's own, one a line.

    Raises:
        PromptError: Nothing is typed, or what `Prompts` refuses.

    Example:
        >>> read_prompts(Prompts("x"), prompts="a taxi, a whale", absent="a whale", templates="none")
        Prompts(2 prompts × 1 template = 2 texts, absent: 'a whale'; first: 'a taxi')
    """
    names, missing = parse_list(prompts), parse_list(absent)
    if not names:
        fix = "Write one a line, or several with commas."
        raise PromptError("No prompt is typed", expected="at least one, such as: a taxi", fix=fix)
    synonyms = dict(zip(before.prompts, before.synonyms, strict=True))
    hidden = [name for name, is_so in zip(before.prompts, before.background, strict=True) if is_so and name in names]
    texts_of = {name: synonyms.get(name, (name,)) for name in (*names, *missing)}
    chosen = parse_templates(own) if templates == OWN else template_set(templates)
    texts = (text for named in texts_of.values() for text in named)
    twice = two_articles(chosen, texts, plural=before.plural) is not None
    return Prompts(
        {name: texts_of[name] for name in names},
        chosen,
        absent={name: texts_of[name] for name in missing},
        background={name: texts_of[name] for name in hidden},
        articles="right" if twice else before.articles,
        plural=before.plural,
    )
