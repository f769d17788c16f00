"""The words of the command line: messages name arguments and functions of Python, and here are options and commands."""

from __future__ import annotations

import ast
import re
import shlex
from contextlib import suppress
from dataclasses import fields

from denseclip_viz.cli.options import ModelOptions

_SAME = (
    *(field.name for field in fields(ModelOptions)),
    "absent", "articles", "background", "batch", "confidence", "cosine", "crop", "denoise", "engine", "finer", "force",
    "formula", "geometry", "guided", "keep", "labels", "minutes", "names", "network", "page", "palette", "path",
    "precision", "scale", "scenes", "schedule", "score", "seed", "size", "smooth", "split", "steps", "threshold",
    "unseen", "workers",
)  # fmt: skip
OPTIONS = {name: f"--{name.replace('_', '-')}" for name in _SAME} | {
    "name": "--model", "pretrained": "--weights", "prompts": "--prompt", "templates": "--template",
    "layers": "--layer", "resume": "--restart", "k": "--top", "per_page": "--top",
}  # fmt: skip
"""Arguments of Python, and the options that they are here. A switch stands for the one value that a message advises."""
OTHERS = {
    "models()": "denseclip-viz models",
    "dcv.datasets.layouts()": "denseclip-viz datasets",
    "toyworld.vocabulary()": "denseclip-viz toyworld vocabulary",
    "batch_size": "the number of images",  # as many as there are, up to eight, are one batch
    "PIL.Image.open it, image.seek(0), pass image.copy()": "save it as a file of its own",
    "Save it there: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)": "Copy the tokenizer's files there",
    "pass mean, std, interpolation, resize_mode": "pass --mean, --std, --interpolation, --resize-mode",
    "merge_and_unload().save_pretrained(FOLDER)": "with peft's merge_and_unload, in Python",
    "go to model.encode_image; here pass the image itself": "are no image",
    "Or pass a DensePath(...)": "Pick one of them",
    "that features.encode wrote": "that denseclip-viz encode wrote",
    "Student.save wrote them": "denseclip-viz plus train writes them",
    "by features.encode with the same preset, path and geometry": "by the same command with --encode float16",
    "leave features out": "leave --features out",
    "Open it again: store = dcv.features.open_store(store.folder)": "Run the same command again",
    "another file as store=": "another file as --store",
    "Take Tiles() without apart": "Pass --geometry tiles where images are encoded",
    "Leave window out, or round it to whole cells": "Pass --geometry tiles",
    'In a script, call it below `if __name__ == "__main__":`, or pass ahead=False': "Run it again, and it goes on",
    "Trace with": "Pass",
    "Trace twice": "Run it twice",
    "'official' or '' for none": "'official' or 'none'",
    "such as result.isel(prompt=slice(50)) or .sel(template=…)": "by fewer prompts or templates",
}
"""What else messages name, and what it is here."""

_ITEM = r"""(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|-?[0-9][0-9.]*(?:e[+-]?[0-9]+)?|-?(?:nan|inf)\b)"""
_LIST = rf"[\[(]{_ITEM}(?:, {_ITEM})*,?[\])]"
_NAMES, _OTHERS = "|".join(OPTIONS), "|".join(map(re.escape, OTHERS))
_NAMED = re.compile(
    rf"(?<![\w.])(?:(?P<name>{_NAMES})(?:=(?P<value>True|False|{_ITEM}|{_LIST})|\[(?P<at>[0-9]+)\])|(?P<other>{_OTHERS}))"
)


def in_options(message: str) -> str:
    """Say in options and commands what a message says in arguments and functions of Python.

    Example:
        >>> in_options('Pass pretrained="random", mean=(0.5, 0.5, 0.5) or force=True; models() lists all.')
        'Pass --weights random, --mean 0.5,0.5,0.5 or --force; denseclip-viz models lists all.'
        >>> in_options("prompts[1] is 'a', which prompts[0] is already")
        "--prompt no. 2 is 'a', which --prompt no. 1 is already"
    """
    return _NAMED.sub(_option, message)


def _option(match: re.Match[str]) -> str:
    if match["other"]:
        return OTHERS[match["other"]]
    option = OPTIONS[match["name"]]
    if match["at"]:
        return f"{option} no. {int(match['at']) + 1}"
    if match["value"] in ("True", "False"):
        return option
    items = re.findall(_ITEM, match["value"])
    texts = [shlex.quote(_text(item)) for item in items if item[0] in "'\""]
    return " ".join(f"{option} {text}" for text in texts or [",".join(items)])


def _text(item: str) -> str:
    with suppress(SyntaxError):  # a text that was shortened in the middle of an escape
        return str(ast.literal_eval(item))
    return item[1:-1]
