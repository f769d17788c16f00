"""Prompts × templates: what is named, and in which words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import compress
from os import PathLike

from denseclip_viz.errors import PromptError, warn
from denseclip_viz.html import join_names, repr_html
from denseclip_viz.prompts.articles import fill, two_articles
from denseclip_viz.prompts.templates import PLACE, templates_from
from denseclip_viz.validation import check_text, many, one_of, refuse_twice, short, strings

ARTICLES = ("as written", "right")

Named = str | Iterable[str] | Mapping[str, str | Iterable[str]]
"""One prompt, several, or several with their synonyms: {"car": ["car", "automobile"], "grass": "grass"}."""


@dataclass(frozen=True, init=False, repr=False)
class Prompts:
    """Prompts × templates: every prompt in every template, as two axes that are never averaged unasked.

    Prompts are kept as typed. The default is no template, so that "a red car" is encoded as "a red car". Templates
    are filled in as they were published, "a photo of a airplane." included: that is what numbers of the literature
    were made with, and `articles="right"` is the other choice.

    Args:
        prompts: One text, several, or a mapping from a name to the synonyms that mean it: the vector of such a
            prompt is the mean of its synonyms' unit vectors, scaled to length one, in each template by itself.
        templates: The name of a set (`TEMPLATE_SETS`), a file that ends in ".txt" (one a line, "#" for comments),
            one template with one "{}", or several.
        absent: Prompts known not to be in the image: the baseline. They stand last, and never compete.
        background: Prompts that stand for "nothing of interest"; those not among the prompts are added.
        articles: "as written", or "right": "a photo of an orange tree.", "the plastic car." for "a car".
        plural: Say "a photo of many cars." for "car" (after many, several, two, …).

    Attributes:
        prompts: The names, (prompt,).
        templates: The ways of saying them, (template,).
        absent: Which prompts are known not to be in the image, (prompt,).
        background: Which prompts are background, (prompt,).
        synonyms: The synonyms of each prompt, (prompt, any number); one, the prompt itself, unless more came.
        articles: As given.
        plural: As given.

    Raises:
        PromptError: No prompts; a prompt that is empty, not a string, there twice, or both absent and not; a name
            without synonyms; a template without just one "{}"; a set name that is not known, a file that cannot be
            read; another switch.

    Warns:
        UserWarning: Templates and prompts that both bring an article or a full stop: "a a car.." stays as written. Or
            a prompt with "{}" and no templates: it looks like one itself.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.Prompts(["a red car", "grass"], "a photo of {}.", absent="a giraffe").texts
        [['a photo of a red car.', 'a photo of grass.', 'a photo of a giraffe.']]
        >>> dcv.Prompts({"car": ["car", "automobile"], "grass": "grass"}, "a {}.", articles="right").texts
        [['a car.', 'an automobile.', 'grass.']]
    """

    prompts: tuple[str, ...]
    templates: tuple[str, ...]
    absent: tuple[bool, ...]
    background: tuple[bool, ...]
    synonyms: tuple[tuple[str, ...], ...]
    articles: str
    plural: bool

    def __init__(
        self,
        prompts: Named,
        templates: str | PathLike[str] | Iterable[str] = "none",
        *,
        absent: Named = (),
        background: Named = (),
        articles: str = "as written",
        plural: bool = False,
    ) -> None:
        named = _with_synonyms(prompts, "prompts")
        if not named:
            got = "No prompts came (an empty list)"
            raise PromptError(got, expected="at least one prompt", fix='Pass ["a red car"], say.')
        hidden, away = _with_synonyms(background, "background"), _with_synonyms(absent, "absent")
        joined = _joined(named, hidden, away)
        for switch, chosen, known in (("articles", articles, ARTICLES), ("plural", plural, (False, True))):
            expected, fix = " or ".join(map(repr, known)), f"Leave it out for {known[0]!r}."
            one_of(chosen, known, switch, error=PromptError, expected=expected, fix=fix)
        values = {
            "prompts": tuple(joined),
            "templates": templates_from(templates),
            "absent": tuple(name in away for name in joined),
            "background": tuple(name in hidden for name in joined),
            "synonyms": tuple(joined.values()),
            "articles": articles,
            "plural": plural,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        _warn_of_doubles(self)
        _warn_of_templates(self)

    @classmethod
    def of(cls, prompts: Prompts | Named) -> Prompts:
        """Turn a text, a list of texts, a mapping or Prompts into Prompts; nothing but Prompts has templates.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.Prompts.of("grass") == dcv.Prompts.of(["grass"]) == dcv.Prompts.of(dcv.Prompts("grass"))
            True
        """
        return prompts if isinstance(prompts, Prompts) else cls(prompts)

    def named(self, *, absent: bool) -> list[str]:
        """List the absent prompts, or all others.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.Prompts(["a taxi", "a road"], absent="a whale").named(absent=False)
            ['a taxi', 'a road']
        """
        return [name for name, away in zip(self.prompts, self.absent, strict=True) if away is absent]

    @property
    def texts(self) -> list[list[str]]:
        """List what the text tower reads, a list per template: (template, synonym), those of a prompt together.

        Without synonyms that is (template, prompt). `prompt_index` says which prompt a synonym belongs to.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.Prompts("one {} sign", ["{}", "the {}."]).texts  # braces in a prompt are only braces
            [['one {} sign'], ['the one {} sign.']]
        """
        return [self.texts_of(template) for template in self.templates]

    def texts_of(self, template: str) -> list[str]:
        """Fill one template with every synonym: (synonym,).

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.Prompts("orange tree", articles="right").texts_of("a {}")
            ['an orange tree']
        """
        (template,), right = templates_from([template]), self.articles == "right"
        texts = (synonym for synonyms in self.synonyms for synonym in synonyms)
        return [fill(template, text, articles=right, plural=self.plural) for text in texts]

    def sent(self, template: str, prompt: str) -> list[str]:
        """List what the text tower reads of one prompt in one template: a text for each synonym.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.Prompts({"car": ["a car", "an automobile"]}, articles="right").sent("the small {}", "car")
            ['the small car', 'the small automobile']
        """
        one_of(prompt, self.prompts, "prompt", error=PromptError)
        texts, at = self.texts_of(template), self.prompts.index(prompt)
        return [text for text, index in zip(texts, self.prompt_index, strict=True) if index == at]

    @property
    def prompt_index(self) -> tuple[int, ...]:
        """Give the index of each synonym's prompt: (synonym,).

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.Prompts({"car": ["car", "automobile"], "grass": "grass"}).prompt_index
            (0, 0, 1)
        """
        return tuple(at for at, synonyms in enumerate(self.synonyms) for _ in synonyms)

    def __len__(self) -> int:
        return len(self.prompts)

    def __repr__(self) -> str:
        marks = ""
        for mark in ("absent", "background"):
            names = map(short, compress(self.prompts, getattr(self, mark)))
            marks += f", {mark}: {', '.join(names)}" if any(getattr(self, mark)) else ""
        return f"Prompts({self._counts()}{marks}; first: {short(self.texts_of(self.templates[0])[0])})"

    def _repr_html_(self) -> str:
        facts = {
            "prompts": join_names([self._tag(at) for at in range(len(self))], most=12),
            "templates": join_names([short(template) for template in self.templates], most=4),
            "first text": short(self.texts_of(self.templates[0])[0]),
        }
        return repr_html(f"Prompts: {self._counts()}", facts, after="model.similarity(trace, prompts)")

    def _tag(self, at: int) -> str:
        text, synonyms = short(self.prompts[at]), len(self.synonyms[at])
        notes = [mark for mark in ("absent", "background") if getattr(self, mark)[at]]
        notes += [many(synonyms, "wording")] if synonyms > 1 else []
        return f"{text} ({', '.join(notes)})" if notes else text

    def _counts(self) -> str:
        prompt, template, synonym = len(self.prompts), len(self.templates), len(self.prompt_index)
        prompts = f"{many(prompt, 'prompt')}{f' ({synonym} wordings)' if synonym > prompt else ''}"
        return f"{prompts} × {many(template, 'template')} = {many(synonym * template, 'text')}"


def _with_synonyms(value: object, what: str) -> dict[str, tuple[str, ...]]:
    """List names with their synonyms."""
    if not isinstance(value, Mapping):
        texts = strings(value, what)
        refuse_twice(texts, what)
        return {text: (text,) for text in texts}
    named: dict[str, tuple[str, ...]] = {}
    for name, synonyms in value.items():
        place = f"{what} came as {type(value).__name__} whose {short(name)}"
        named[check_text(name, f"{what} came as {type(value).__name__}; a key")] = strings(synonyms, place)
        refuse_twice(named[name], place)
        if not named[name]:
            got = f"{place} has no wordings (an empty list)"
            raise PromptError(got, expected="at least one", fix=f"Pass {{{short(name)}: {short(name)}}}, say.")
    refuse_twice(tuple(named), what)
    return named


def _joined(
    named: Mapping[str, tuple[str, ...]], hidden: Mapping[str, tuple[str, ...]], away: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Merge all in this order; background that is among the prompts need not repeat its synonyms."""
    joined = dict(named)
    for name, synonyms in hidden.items():
        if joined.setdefault(name, synonyms) != synonyms and synonyms != (name,):
            got = f"background says {short(name)} in other words than the prompts do"
            raise PromptError(got, expected="one list of wordings", fix=f"Pass background=[{short(name)}].")
    places = [f"prompts[{at}]" for at in range(len(joined))] + [f"absent[{at}]" for at in range(len(away))]
    refuse_twice((*joined, *away), "prompts", places)
    joined |= away
    return joined


def _warn_of_templates(prompts: Prompts) -> None:
    """Say where a template came as a prompt: alone it would be encoded with its braces."""
    texts = (text for texts in prompts.synonyms for text in texts)
    if prompts.templates == (PLACE,) and (likely := next((text for text in texts if PLACE in text), None)):
        fix = f"Pass it as templates={short(likely)} to have prompts stand in its place."
        warn(f"The prompt {short(likely)} looks like a template, and is encoded with its braces. {fix}")


def _warn_of_doubles(prompts: Prompts) -> None:
    """Warn of "a photo of a a car..": nobody means it, and what CLIP makes of it is another map."""
    texts = [text for synonyms in prompts.synonyms for text in synonyms]
    plural, right = prompts.plural, prompts.articles == "right"
    if not right and (clash := two_articles(prompts.templates, texts, plural=plural)):
        fix = 'Pass articles="right" to keep one, or write prompts without.'
        warn(f"{short(fill(*clash, articles=False, plural=plural))} has an article too many. {fix}")
    template = next((template for template in prompts.templates if "{}." in template), None)
    text = next((text for text in texts if text.endswith(".")), None)
    if template and text:
        filled = short(fill(template, text, articles=right, plural=plural))
        warn(f"{filled} has a full stop too many: the template brings one. Write prompts without.")
