"""Where in a file the weights of one CLIP are: behind which key, and behind which prefix of all its names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from denseclip_viz.clip.load.inert import Record
from denseclip_viz.errors import WeightsError
from denseclip_viz.validation import some

_KEYS = ("state_dict", "model_state_dict", "model", "module", "network", "net", "weights", "params")
_TOWER = re.compile(r"(?:^|(?<=\.))(?:visual|vision_model)\.")  # what the image tower of every CLIP or ALIGN is called
_AVERAGE = re.compile(r"(^|[._])(ema|swa|averaged?)([._]|$)")


def unwrap(read: Any, file: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Give the tensors of the one CLIP in what was read, by their own names, and what was taken off and left aside.

    A running average beside the weights is left aside.

    Raises:
        WeightsError: No named tensors, or two models of which neither is the average of the other.
    """
    state, notes = _behind_key(read, file)
    others = [f"{key} ({_kind(value)})" for key, value in state.items() if not isinstance(value, Tensor)]
    if others or not state:
        raise _no_tensors(file, some(others) or "a dict of nothing")
    tensors = {str(key): tensor for key, tensor in state.items()}
    chosen, more = _behind_prefix(tensors, file)
    return chosen, (*notes, *more)


def _behind_key(read: Any, file: Path) -> tuple[Mapping[Any, Any], tuple[str, ...]]:
    """Open the wrapper that training scripts put around a state dict, beside the epoch, the optimizer and others."""
    if not isinstance(read, dict):
        raise _no_tensors(file, f"a {_kind(read)}")
    inside = [key for key, value in read.items() if isinstance(value, dict) and _has_tensors(value)]
    known = [key for key in _KEYS if key in inside] or _without_averages(inside)[:2]
    if len(known) > 1 and known[0] not in _KEYS:
        raise _ambiguous(file, known)
    if not known:
        return (read["state_dict"] if isinstance(read.get("state_dict"), dict) else read), ()
    aside = [f"{key}, which is there too, was left aside" for key in inside if key != known[0]]
    return read[known[0]], tuple(aside)


def _behind_prefix(tensors: dict[str, Tensor], file: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take off the prefix behind which a whole CLIP is, and leave aside what is beside it."""
    towers = (_TOWER.search(name) for name in tensors)
    prefixes = list(dict.fromkeys(tower.string[: tower.start()] for tower in towers if tower)) or [""]
    best = [""] if "" in prefixes else _without_averages(prefixes)
    if len(best) > 1:
        raise _ambiguous(file, best)
    beside = tuple(prefix for prefix in prefixes if prefix != best[0])
    own = [name for name in tensors if name.startswith(best[0]) and not (beside and name.startswith(beside))]
    chosen = {name.removeprefix(best[0]): tensors[name] for name in own}
    if len(own) < len(tensors):
        behind = f"behind the prefix {best[0]}" if best[0] else "without a prefix"
        return chosen, (f"what is {behind} was taken", f"{some(tensors.keys() - own)} beside it left aside")
    return chosen, (f"the prefix {best[0]} of all names was taken off",) if best[0] else ()


def _without_averages(names: Sequence[str]) -> list[str]:
    return [name for name in names if not _AVERAGE.search(str(name))] or list(names)


def _has_tensors(value: Mapping[Any, Any]) -> bool:
    return any(isinstance(key, str) and isinstance(entry, Tensor) for key, entry in value.items())


def _kind(value: object) -> str:
    return value.name[:80] if isinstance(value, Record) else type(value).__name__


def _ambiguous(file: Path, names: Sequence[str]) -> WeightsError:
    got = f"{file.name} holds {len(names)} models, behind {' and '.join(repr(name) for name in names)}"
    fix = f"Save the one that you mean by itself: the entries behind {names[0]!r}, without it."
    return WeightsError(got, expected="the weights of one CLIP", fix=fix)


def _no_tensors(file: Path, got: str) -> WeightsError:
    expected = "tensors by name, at the top or under state_dict"
    return WeightsError(f"{file.name} holds {got}", expected=expected, fix="Save the state dict of the model.")
