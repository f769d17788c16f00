"""Names of layers and taps: patterns that mean them, the error for one that is not there, a short list of many."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Sequence

from denseclip_viz.errors import LayerError


def match(patterns: str | Sequence[str], names: Sequence[str]) -> list[str]:
    """Turn patterns into the names that they mean, in the tower's order, each once; `"*"` alone means all.

    Raises:
        LayerError: a pattern that names nothing.

    Example:
        >>> match(["layer*", "blocks.-1"], ["layer1", "layer2", "blocks.0", "blocks.1"])
        ['layer1', 'layer2', 'blocks.1']
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    chosen: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise LayerError(f"layer {pattern!r} is a {type(pattern).__name__}", expected="names", fix="Use text.")
        found = fnmatch.filter(names, _positive(pattern, names))
        if pattern != "*":  # `layer*` means the layers, not everything inside them
            found = [n for n in found if n.count(".") == pattern.count(".")] or found
        if not found:
            raise unknown_layer(pattern, names, "the taps there are")
        chosen.update(found)
    return [name for name in names if name in chosen]


def _positive(pattern: str, names: Sequence[str]) -> str:
    parts = pattern.split(".")
    for place, part in enumerate(parts):
        if re.fullmatch(r"-\d+", part):
            prefix = ".".join([*parts[:place], ""])
            heads = {n[len(prefix) :].split(".")[0] for n in names if n.startswith(prefix)}
            parts[place] = str(sum(head.isdigit() for head in heads) + int(part))
    return ".".join(parts)


def unknown_layer(name: str, names: Sequence[str], what: str) -> LayerError:
    """Make the error for a name that is not there, with the closest names first."""
    close = difflib.get_close_matches(name, names, n=3)
    hint = f"Did you mean {', '.join(close)}?" if close else "Wildcards and negative indices work: 'blocks.-1'."
    return LayerError(f"no layer or tap is named {name!r}", expected=f"{what}: {summary(names)}", fix=hint)


def summary(names: Sequence[str]) -> str:
    """Shorten numbered names: `blocks.0 … blocks.11` are said once.

    Example:
        >>> summary(["stem", "blocks.0", "blocks.1", "blocks.2", "blocks.0.mlp", "blocks.1.mlp"])
        'stem, blocks.0–2, blocks.0–1.mlp'
    """
    groups: dict[str, list[int]] = {}
    for name in names:
        numbers = [int(n) for n in re.findall(r"(?<=\.)\d+", name)]
        groups.setdefault(re.sub(r"(?<=\.)\d+", "#", name, count=1), []).extend(numbers[:1] or [0])
    spans = {form: f"{min(n)}–{max(n)}" if min(n) < max(n) else str(n[0]) for form, n in groups.items()}
    return ", ".join(form.replace("#", spans[form]) for form in groups)
