"""Ways of saying a prompt: the sets of the literature, lists and files of one's own."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from denseclip_viz.errors import PromptError
from denseclip_viz.validation import check_text, readable, refuse_twice, short, strings

PLACE = "{}"
_SCENE_OPENINGS = ("there is a", "there is the", "this is a", "this is the", "this is one")

TEMPLATE_SETS = ("none", "single", "imagenet-7", "imagenet-80", "maskclip-85", "scene")
"""The names that `templates=` knows; `template_set` gives the texts behind each."""


def template_set(name: str) -> tuple[str, ...]:
    """Give the templates behind a name, each with one place for the prompt, worded as they were published.

    The ImageNet sets are read from open_clip when asked for, in its order; "maskclip-85" is its 80 and "scene", five
    about the scene (arXiv 2112.01071, official code, tools/maskclip_utils/prompt_engineering.py).

    Args:
        name: One of `TEMPLATE_SETS`.

    Returns:
        The templates: 1 ("none", "single"), 5 ("scene"), 7, 80 or 85.

    Raises:
        PromptError: There is no set of that name; the message has the closest ones.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.prompts.template_set("single")
        ('a photo of a {}.',)
    """
    if not isinstance(name, str) or name not in TEMPLATE_SETS:
        close = difflib.get_close_matches(str(name).lower(), TEMPLATE_SETS, n=2, cutoff=0.4)
        got = f"There is no template set {short(name)}" + (f" (closest: {', '.join(close)})" if close else "")
        expected = f"one of {', '.join(TEMPLATE_SETS)}, a .txt file, or templates with one {{}} each"
        fix = 'Pass templates="imagenet-80" or templates="a photo of a {}.", say.'
        raise PromptError(got, expected=expected, fix=fix)
    if name == "none":
        return (PLACE,)
    if name == "single":
        return ("a photo of a {}.",)
    scene = tuple(f"{opening} {PLACE} in the scene." for opening in _SCENE_OPENINGS)
    if name == "scene":
        return scene
    from open_clip import zero_shot_metadata as metadata

    if name == "imagenet-7":
        return tuple(template(PLACE) for template in metadata.SIMPLE_IMAGENET_TEMPLATES)
    imagenet = tuple(template(PLACE) for template in metadata.OPENAI_IMAGENET_TEMPLATES)
    return imagenet + scene if name == "maskclip-85" else imagenet


def templates_from(value: str | os.PathLike[str] | Iterable[str]) -> tuple[str, ...]:
    """Read what `templates=` takes: the name of a set, a file (a path, or a name in ".txt"), one template or several.

    Example:
        >>> templates_from("a photo of {}."), templates_from("none")
        (('a photo of {}.',), ('{}',))
    """
    if isinstance(value, os.PathLike):
        return read_templates(value)
    if isinstance(value, str) and not set(value) & set(PLACE) and value.strip():
        return read_templates(value) if value.lower().endswith(".txt") else template_set(value)
    templates = strings(value, "templates")
    if not templates:
        got = "No templates came (an empty list)"
        raise PromptError(got, expected="at least one", fix='Pass templates="none" for the prompts as they are.')
    for template in templates:
        _refuse_places(template, "The template")
    refuse_twice(templates, "templates")
    return templates


def read_templates(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read templates from a text file in UTF-8: one a line; empty lines and those that begin with "#" are left out.

    Raises:
        PromptError: A file that cannot be read or holds no template; a line that is no template or is there twice,
            with file and line.

    Example:
        >>> read_templates("mine.txt")
        Traceback (most recent call last):
        denseclip_viz.errors.PromptError: The template file 'mine.txt' cannot be read (No such file or directory). ...
    """
    lines = [(f"{Path(path).name}:{number}", line.strip()) for number, line in enumerate(_lines(path), start=1)]
    numbered = [(place, line) for place, line in lines if line and not line.startswith("#")]
    if not numbered:
        got = f"The template file {short(os.fspath(path))} holds no template"
        raise PromptError(got, expected='lines with one "{}" each', fix='Write "a photo of a {}." into it, say.')
    for place, line in numbered:
        _refuse_places(check_text(line, place), f"{place}: the template")
    templates = tuple(line for _, line in numbered)
    refuse_twice(templates, "templates", [place for place, _ in numbered])
    return templates


def _lines(path: str | os.PathLike[str]) -> list[str]:
    try:
        return readable(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        why = "it is not UTF-8"
    except (OSError, ValueError) as error:  # ValueError: a null in the path
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    got = f"The template file {short(os.fspath(path))} cannot be read ({why})"
    raise PromptError(got, expected="a text file in UTF-8, one template a line", fix="Check the name and the file.")


def _refuse_places(template: str, what: str) -> None:
    places = template.count(PLACE)
    if places == 1 and not set(template.replace(PLACE, "")) & set(PLACE):
        return
    how = "has no place for the prompt" if not places else f"has {places} places for the prompt"
    if places == 1 or set(template.replace(PLACE, "")) & set(PLACE):
        how = "has other braces than one {}"
    got = f"{what} {short(template)} {how}"
    raise PromptError(got, expected='exactly one empty "{}" and no other braces', fix='Write "a photo of a {}.", say.')
