"""What classes are called in prompts: published lists, and lists of one's own, a class a line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from denseclip_viz.errors import PromptError
from denseclip_viz.prompts.class_names import class_list
from denseclip_viz.validation import check_text, many, readable, short_name, strings

Names = tuple[tuple[str, ...], ...]

# configs/cls_*.txt of wangf3014/SCLIP at b56bd30, byte for byte those of sinahmr/NACLIP at 0cac3a6; then those of
# mc-lan/ProxyCLIP at 05c3c18. What differs from MaskCLIP's wording, which `class_list` has, is written down.
_ROOM = "lamp, door, window, wardrobe, ceiling, shelf, curtain, stair"
_NATURE = "sky, wall, tree, wood, grass, road, sea, river, mountain, sands, desk, bed, building, cloud"
_BACKGROUND = f"{_NATURE}, {_ROOM}, floor, hill, rail, fence"
_CLOTHES = "shirt jeans dress sweater skirt jacket".split()
_PERSON = ", ".join(["person", *(f"person in {what}" for what in _CLOTHES)])
_VOC = {"airplane": "aeroplane", "boat": "ship", "dining table": "table", "potted plant": "pottedplant"}
_SCREEN = "television monitor, tv monitor, monitor, television, screen"
_CONTEXT = {"airplane": "aeroplane", "potted plant": "pottedplant", "tv monitor": "tvmonitor"}
_OTHER = "building ceiling floor food furniture ground plant sky solid structural textile wall water window".split()
_TURNED = "tile ceiling, marble floor, stone floor, tile floor, wood floor, blind window".split(", ")
_WALLS = [f"{kind} wall" for kind in "brick concrete panel stone tile wood".split()]
_STUFF = {name: f"{name}-other" for name in _OTHER}
_STUFF |= {name: f"{name}-stuff" for name in ("desk", "door", "mirror")}
_STUFF |= {name: "-".join(reversed(name.split())) for name in (*_TURNED, *_WALLS)}

_SCLIP = {
    "voc20": _VOC | {"person": _PERSON, "tv monitor": _SCREEN},
    "context59": _CONTEXT,
    "coco-object80": {"person": f"{_PERSON}, body", "background": _BACKGROUND},
    "coco-stuff171": _STUFF,
    "ade150": {},
    "cityscapes19": {},
}
_CLOSED_UP = ("coco-stuff171", "ade150", "cityscapes19")
"""Lists in which SCLIP writes names of several words as one."""
_PROXYCLIP = {
    "voc20": _VOC | {"tv monitor": "tvmonitor"},
    "coco-object80": {"background": f"{_NATURE}, floor, hill, rail"},
}


def published(names: str, classes: str, background: bool) -> tuple[str, ...] | None:
    """Give the lines of a published list: "maskclip", "sclip" or "proxyclip"; None where it has no such classes.

    Example:
        >>> published("sclip", "voc20", background=False)[:4]
        ('aeroplane', 'bicycle', 'bird', 'ship')
    """
    plain = class_list("coco-stuff171")[:80] if classes == "coco-object80" else class_list(classes)
    if names == "maskclip":
        return ("background",) * background + plain
    renamed = {"sclip": _SCLIP, "proxyclip": _PROXYCLIP}[names].get(classes)
    if renamed is None:
        return None
    closed = names == "sclip" and classes in _CLOSED_UP
    lines = tuple(renamed.get(name, name.replace(" ", "") if closed else name) for name in plain)
    rest = _BACKGROUND if classes == "voc20" else renamed.get("background", "background")
    return (rest,) * background + lines


LISTS = ("maskclip", "sclip", "proxyclip")


def parse(lines: Iterable[str], source: str) -> Names:
    """Read a class a line, its names parted by commas, or by semicolons where a line has one.

    Raises:
        PromptError: a line without a name, or one name twice in a line.

    Example:
        >>> parse(["sky, wall", "aeroplane"], "the list")
        (('sky', 'wall'), ('aeroplane',))
    """
    lines = list(lines)
    mark = ";" if any(";" in line for line in lines) else ","
    names = tuple(tuple(name.strip() for name in line.split(mark)) for line in lines)
    for at, each in enumerate(names, 1):
        if not all(each) or len(set(each)) < len(each):
            got = f"Line {at} of {source} is {lines[at - 1]!r}"
            expected = "the names of a class, each once, parted by commas"
            raise PromptError(got, expected=expected, fix="Write a class a line.")
    return names


def choose(names: str | os.PathLike[str] | Sequence[str], of: str, background: bool, classes: Sequence[str]) -> Names:
    """Read a published list by its name, a file, or lines; there must be as many as classes.

    Raises:
        PromptError: no such list or file, or another number of lines.

    Example:
        >>> choose(["ground", "a thing, a body"], "", True, ["background", "thing"])
        (('ground',), ('a thing', 'a body'))
    """
    if isinstance(names, str) and names in LISTS:
        lines, source = (published(names, of, background) if of else None), f"the list {names!r}"
        if lines is None:
            known = ", ".join(each for each in LISTS if of and published(each, of, background))
            got, fix = f"names={names!r}, which has none for these classes", "Leave names out for those of the data."
            raise PromptError(got, expected=f"one of {known}, or a file" if known else "a file of names", fix=fix)
    elif isinstance(names, str | os.PathLike):
        source = short_name(names)
        lines = tuple(read_lines(Path(names), f"one of {', '.join(LISTS)}, or a text file, a class a line"))
    else:
        lines, source = strings(names, "names"), "names"
    parsed = parse(lines, source)
    if len(parsed) != len(classes):
        got, fix = f"{source} has {many(len(parsed), 'line')}", "Write the names of each class in a line of its own."
        raise PromptError(got, expected=f"{len(classes)}, from {classes[0]!r} to {classes[-1]!r}", fix=fix)
    return parsed


def read_lines(file: Path, expected: str = "a text file in UTF-8, a class a line", *, blank: bool = False) -> list[str]:
    """Read the lines of a text file, blank ones too where they may be; those at its end are none.

    Raises:
        PromptError: it cannot be read.
    """
    try:
        lines = [line.strip() for line in readable(file).read_text(encoding="utf-8-sig").rstrip().splitlines()]
        return lines if blank else [check_text(line, f"line {at} of {file}") for at, line in enumerate(lines, 1)]
    except UnicodeDecodeError:
        why = "it is not UTF-8"
    except OSError as error:
        why = error.strerror or type(error).__name__
    raise PromptError(f"{file} cannot be read ({why})", expected=expected, fix="Check the path; save it as UTF-8.")
