"""Prompts and templates as they are typed, and as sets that are chosen from."""

from collections.abc import Iterable

from denseclip_viz.errors import PromptError
from denseclip_viz.prompts import TEMPLATE_SETS, Prompts, template_set
from denseclip_viz.prompts.articles import two_articles
from denseclip_viz.validation import refuse_twice, strings

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


def read_lines(text: str) -> tuple[str, ...]:
    """Read a list as it is typed, one a line, commas and quotes included; blank lines are none.

    Example:
        >>> read_lines("a taxi, parked" + chr(10) * 2 + " a road ")
        ('a taxi, parked', 'a road')
    """
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def one_line_of(name: str) -> str:
    """Bring a prompt into one line, as it is typed."""
    return " ".join(name.split())


def as_lines(names: Iterable[str]) -> str:
    """Write prompts as they are typed, one a line."""
    return "\n".join(map(one_line_of, names))


def template_choice(templates: tuple[str, ...]) -> str:
    """Find the name of a set of templates; `"own"` where it is none.

    Example:
        >>> template_choice(("{}",)), template_choice(("my {}",))
        ('none', 'own')
    """
    return next((name for name in TEMPLATE_SETS if template_set(name) == tuple(templates)), OWN)


def template_title(templates: tuple[str, ...]) -> str:
    """Name templates as the choice among their sets does.

    Example:
        >>> template_title(("{}",))
        'as typed'
    """
    chosen = template_choice(templates)
    return next(text for text, name in TEMPLATE_CHOICES if name == chosen)


def _own_templates(text: str) -> tuple[str, ...]:
    if lines := read_lines(text):
        return lines
    fix = 'Write one a line, "a photo of {}." say, or choose a set.'
    raise PromptError("No templates of your own are typed", expected='lines with one "{}" each', fix=fix)


def worded_otherwise(prompts: Prompts, templates: str) -> Prompts:
    """Put the same prompts into a set of templates, as if that had been chosen.

    Example:
        >>> worded_otherwise(Prompts("a taxi", absent="a whale"), "single").texts[0]
        ['a photo of a taxi.', 'a photo of a whale.']
    """
    typed, absent = (as_lines(prompts.named(absent=away)) for away in (False, True))
    return read_prompts(prompts, prompts=typed, absent=absent, templates=templates)


def read_prompts(before: Prompts, *, prompts: str, absent: str, templates: str, own: str = "") -> Prompts:
    """Make prompts of what is typed, one a line; synonyms, marks and switches stay for the names that were there.

    Where a template and a prompt both bring an article, articles are set right, as they are for plain texts.

    Raises:
        PromptError: Nothing is typed, something twice, or what `Prompts` refuses.

    Example:
        >>> read_prompts(Prompts("x"), prompts="a taxi", absent="a whale", templates="none")
        Prompts(2 prompts × 1 template = 2 texts, absent: 'a whale'; first: 'a taxi')
    """
    known = {one_line_of(name): name for name in before.prompts}  # one that a cell gave may have more white space
    names, missing = ([known.get(line, line) for line in read_lines(text)] for text in (prompts, absent))
    if not names:
        raise PromptError("No prompt is typed", expected="at least one, such as: a taxi", fix="Write one a line.")
    for lines, what in ((names, "prompts"), (missing, "absent")):
        refuse_twice(strings(lines, what), what)  # in a mapping they have no places
    synonyms = dict(zip(before.prompts, before.synonyms, strict=True))
    hidden = [name for name, is_so in zip(before.prompts, before.background, strict=True) if is_so and name in names]
    texts_of = {name: synonyms.get(name, (name,)) for name in (*names, *missing)}
    chosen = _own_templates(own) if templates == OWN else template_set(templates)
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
