"""What is named and how it is said: prompts, templates, and the template sets of the literature."""

from __future__ import annotations

import difflib
import html
import itertools
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import NoReturn

from denseclip_viz.errors import PromptError

_PLACE = "{}"
_SCENE_OPENINGS = ("there is a", "there is the", "this is a", "this is the", "this is one")

TEMPLATE_SETS = ("none", "single", "imagenet-7", "imagenet-80", "maskclip-85")
"""The names that `templates=` knows; `template_set` gives the texts behind each."""


def template_set(name: str) -> tuple[str, ...]:
    """Gives the templates behind a name, each with one place for the prompt.

    The ImageNet sets are read from open_clip when asked for, in its order; "maskclip-85" is its 80 and
    five about the scene (arXiv 2112.01071, official code, tools/maskclip_utils/prompt_engineering.py).

    Args:
        name: One of `TEMPLATE_SETS`.

    Returns:
        The templates: 1 ("none", "single"), 7, 80 or 85.

    Raises:
        PromptError: There is no set of that name; the message has the closest ones.

    Example:
        >>> template_set("single")
        ('a photo of a {}.',)
    """
    if name == "none":
        return (_PLACE,)
    if name == "single":
        return ("a photo of a {}.",)
    if name not in TEMPLATE_SETS:
        _refuse_set_name(name)
    from open_clip import zero_shot_metadata as metadata

    if name == "imagenet-7":
        return tuple(say(_PLACE) for say in metadata.SIMPLE_IMAGENET_TEMPLATES)
    scene = tuple(f"{opening} {_PLACE} in the scene." for opening in _SCENE_OPENINGS)
    imagenet = tuple(say(_PLACE) for say in metadata.OPENAI_IMAGENET_TEMPLATES)
    return imagenet + scene if name == "maskclip-85" else imagenet


@dataclass(frozen=True, init=False, repr=False)
class Prompts:
    """Prompts × templates: every prompt said in every way, as two axes that are never averaged unasked.

    Prompts are kept as typed. The default is no template, so that "a red car" is encoded as "a red car".

    Args:
        prompts: One text or several.
        templates: The name of a set (`TEMPLATE_SETS`), one template with one "{}", or several templates.
        absent: Prompts known not to be in the picture, the baseline; those not among the prompts are added.

    Attributes:
        prompts: The texts that are named, (prompt,).
        templates: The ways of saying them, (template,).
        absent: Which prompts are known not to be in the picture, (prompt,).

    Raises:
        PromptError: No prompts; a prompt that is empty, not a string or there twice; a template without just
            one "{}"; or a set name that is not known.

    Example:
        >>> Prompts(["a red car", "grass"], "a photo of {}.", absent="a giraffe").texts
        [['a photo of a red car.', 'a photo of grass.', 'a photo of a giraffe.']]
    """

    prompts: tuple[str, ...]
    templates: tuple[str, ...]
    absent: tuple[bool, ...]

    def __init__(
        self,
        prompts: str | Iterable[str],
        templates: str | Iterable[str] = "none",
        *,
        absent: str | Iterable[str] = (),
    ) -> None:
        named = _strings(prompts, "prompts")
        if not named:
            raise PromptError(
                "No prompts came (an empty list)",
                expected="at least one prompt",
                fix='Pass ["a red car"], say.',
            )
        missing = _strings(absent, "absent")
        _refuse_twice(missing, "absent")
        _refuse_twice(named, "prompts")
        every = named + tuple(text for text in missing if text not in named)
        _refuse_twice(every, "prompts")
        object.__setattr__(self, "prompts", every)
        object.__setattr__(self, "templates", _templates(templates))
        object.__setattr__(self, "absent", tuple(text in missing for text in every))

    @classmethod
    def of(cls, prompts: Prompts | str | Iterable[str]) -> Prompts:
        """Turns a text, a list of texts or Prompts into Prompts; lists get no template.

        Example:
            >>> Prompts.of("grass") == Prompts.of(["grass"]) == Prompts.of(Prompts("grass"))
            True
        """
        if isinstance(prompts, Prompts):
            return prompts
        return cls(prompts)

    @property
    def texts(self) -> list[list[str]]:
        """What the text tower reads, one list of prompts per template: (template, prompt).

        Example:
            >>> Prompts("a {} sign", ["{}", "the {}."]).texts  # braces in a prompt are only braces
            [['a {} sign'], ['the a {} sign.']]
        """
        return [[template.replace(_PLACE, prompt) for prompt in self.prompts] for template in self.templates]

    def __len__(self) -> int:
        return len(self.prompts)

    def __repr__(self) -> str:
        missing = [_short(text) for text, away in zip(self.prompts, self.absent, strict=True) if away]
        baseline = f", absent: {', '.join(missing)}" if missing else ""
        return f"Prompts({self._counts()}{baseline}; first: {_short(self.texts[0][0])})"

    def _repr_html_(self) -> str:
        shown = [self._tag(at) for at in range(min(len(self), 12))]
        more = f" and {len(self) - len(shown)} more" if len(self) > len(shown) else ""
        return (
            f"<div><b>{self._counts()}</b><br>{', '.join(shown)}{more}<br>"
            f"first text: <code>{html.escape(_short(self.texts[0][0]))}</code><br>"
            "next: <code>model.similarity(trace, prompts)</code></div>"
        )

    def _tag(self, at: int) -> str:
        text = html.escape(_short(self.prompts[at]))
        return f"<i>{text} (absent)</i>" if self.absent[at] else text

    def _counts(self) -> str:
        prompt, template = len(self.prompts), len(self.templates)
        return f"{_many(prompt, 'prompt')} × {_many(template, 'template')} = {_many(prompt * template, 'text')}"


def check_text(text: object, what: str) -> str:
    """Gives the text back when it is one that can be encoded, and names it in an error when it is not.

    Raises:
        PromptError: Not a string, nothing but white space, half of a surrogate pair (not encodable), or a null
            character (NumPy and netCDF cut names there).

    Example:
        >>> check_text("grass", "prompts[0]")
        'grass'
    """
    if not isinstance(text, str):
        came = f"{what} is {_short(text)} of type {type(text).__name__}"
        raise PromptError(came, expected="a string", fix="Write the prompt as text.")
    if not text.strip():
        came = f"{what} is {text!r}, which says nothing"
        raise PromptError(came, expected="a text with at least one visible character", fix="Leave it out, or write it.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        came = f"{what} is {ascii(text)[:80]}, which holds half of a surrogate pair"
        raise PromptError(came, expected="text that can be written as UTF-8", fix="Type it again.")
    if "\0" in text:
        came = f"{what} is {_short(text)}, which holds a null character"
        raise PromptError(came, expected="text that arrays and files can hold", fix="Take it out.")
    return str(text)


def _strings(value: object, what: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = (value,)
    scalar = getattr(value, "ndim", 1) == 0  # an array of no axes only looks as if it could be gone through
    if scalar or not isinstance(value, Iterable) or isinstance(value, bytes | bytearray | Mapping | Set):
        came = f"{what} came as {type(value).__name__}"
        raise PromptError(came, expected="a string or a sequence of strings (in order)", fix="Pass a list of strings.")
    return tuple(check_text(text, f"{what}[{at}]") for at, text in enumerate(value))


def _refuse_twice(texts: tuple[str, ...], what: str) -> None:
    """White space counts once, as for every tokenizer: texts that differ only there give equal maps."""
    seen: dict[str, int] = {}
    for at, text in enumerate(texts):
        first = seen.setdefault(" ".join(text.split()), at)
        if first != at:
            came = f"{what}[{at}] is {_short(text)}, which {what}[{first}] is already"
            raise PromptError(came, expected="each text once", fix="Take one of the two out.")


def _templates(value: str | Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str) and not set(value) & set(_PLACE) and value.strip():
        return template_set(value)
    templates = _strings(value, "templates")
    if not templates:
        came = "No templates came (an empty list)"
        raise PromptError(came, expected="at least one", fix='Pass templates="none" for the prompts as they are.')
    for template in templates:
        _refuse_places(template)
    _refuse_twice(templates, "templates")
    return templates


def _refuse_places(template: str) -> None:
    places = template.count(_PLACE)
    if places == 1 and not set(template.replace(_PLACE, "")) & set(_PLACE):
        return
    how = "has no place for the prompt" if not places else f"has {places} places for the prompt"
    if places == 1 or set(template.replace(_PLACE, "")) & set(_PLACE):
        how = "has other braces than one {}"
    came = f"The template {_short(template)} {how}"
    raise PromptError(came, expected='exactly one empty "{}" and no other braces', fix='Write "a photo of a {}.", say.')


def _refuse_set_name(name: str) -> NoReturn:
    close = difflib.get_close_matches(name.lower(), TEMPLATE_SETS, n=2, cutoff=0.4)
    meant = f" (closest: {', '.join(close)})" if close else ""
    raise PromptError(
        f"There is no template set {_short(name)}{meant}",
        expected=f"one of {', '.join(TEMPLATE_SETS)}, or templates with one {{}} each",
        fix='Pass templates="imagenet-80" or templates="a photo of a {}.", say.',
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _short(text: object, most: int = 60) -> str:
    whole = repr(text[: most + 1] if isinstance(text, str) else text)
    return whole if len(whole) <= most else "".join(itertools.islice(whole, most - 2)) + "…" + whole[-1]
