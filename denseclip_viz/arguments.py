"""Options of the front door: as they should be, or an error that names the one that cannot be."""

import os
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.forward import ForwardOptions
from denseclip_viz.clip.hooks import match
from denseclip_viz.clip.load.checkpoints import choose_device
from denseclip_viz.clip.load.switches import text_facts, tower_facts
from denseclip_viz.clip.paths import choose_path
from denseclip_viz.clip.preparation import Preparation
from denseclip_viz.clip.towers import Tower
from denseclip_viz.clip.tracing import Tracing
from denseclip_viz.errors import GeometryError, ImageError, LayerError, PromptError, WeightsError
from denseclip_viz.geometry import Fit, Preprocess, fit_from
from denseclip_viz.presets import Preset, preset_named
from denseclip_viz.trace import PARTS, Trace
from denseclip_viz.validation import is_whole

Item = TypeVar("Item")


def list_names(value: object, option: str) -> list[str]:
    """List the names that an option gives: one, or several.

    Raises:
        LayerError: something else.

    Example:
        >>> list_names("layer*", "layers"), list_names(("stem", "layer1"), "layers")
        (['layer*'], ['stem', 'layer1'])
    """
    value = value.tolist() if isinstance(value, np.ndarray) else value
    listed = [value] if isinstance(value, str) else _listed(value)
    if listed is None or not all(isinstance(name, str) for name in listed):
        expected = "a name or a list of names, as text"
        raise LayerError(f"{option}={reprlib.repr(value)}", expected=expected, fix="model.taps lists the names.")
    return [str(name) for name in listed]


def pick_layers(layers: object, names: Sequence[str]) -> list[str]:
    """Pick layers by what an option gives, `"all"` of them or patterns, in the tower's order.

    Raises:
        LayerError: a pattern that names none of them.

    Example:
        >>> pick_layers("all", ["stem", "layer1"]), pick_layers("layer*", ["stem", "layer1"])
        (['stem', 'layer1'], ['layer1'])
    """
    patterns = list_names(layers, "layers")
    return list(names) if patterns == ["all"] else match(patterns, names)


def tracing(
    tower: Tower,
    preprocess: Preprocess,
    provenance: Mapping[str, str | int],
    done: set[str],
    workers: object = None,
    *,
    preset: str | Preset | None = None,
    geometry: str | Fit | None = None,
    device: str | torch.device = "cpu",
    batch_size: object = 8,
    on_window: Callable[[int, int], object] | None = None,
    **wanted: object,
) -> Tracing:
    """Put together how images become traces; what is not given is the preset's.

    Raises:
        DenseclipVizError: an option that cannot be.
    """
    paper = preset_named(preset)
    options = forward_options(tower, paper, **wanted)
    preparation = Preparation(
        tower=tower,
        fit=fit_from(paper.fit(tower.family) if geometry is None else geometry),
        preprocess=preprocess,
        provenance={**provenance, "path": ", ".join(options.names), "tower": tower.family}
        | ({"pool_keys": options.keys} if options.keys else {}),
        shown="image" in options.parts,
    )
    return Tracing(
        preparation=preparation,
        options=options,
        batch_size=check_batch_size(batch_size),
        workers=check_workers(workers),
        device=choose_device(device),
        done=done,
        on_window=on_window,
    )


def forward_options(
    tower: Tower,
    paper: Preset,
    *,
    layers: object = (),
    attention: object = (),
    keys: object = "",
    path: object = None,
    keep: object = None,
) -> ForwardOptions:
    """Put together what a trace asks of the tower; what is not given is the preset's.

    Raises:
        LayerError: an option that cannot be.
    """
    taps = list_names(layers, "layers")
    taps = list(tower.layers_to_record(tower.layers) or tower.layers) if taps == ["all"] else taps
    taps += [f"{name}.attention" for name in list_names(attention, "attention")]
    return ForwardOptions(
        path=choose_paths(paper.path if path is None else path),
        layers=tuple(match(taps, list(tower.taps()))) if taps else (),
        keys=check_keys(keys) or paper.keys.get(tower.family, ""),
        parts=choose_parts(keep),
    )


def choose_parts(keep: object) -> frozenset[str]:
    """Choose the parts of a trace: all by default, else those that are named, and the global embedding.

    Raises:
        LayerError: a name of no part.

    Example:
        >>> sorted(choose_parts(["dense"]))
        ['dense', 'global']
    """
    listed = list(PARTS) if keep is None else [keep] if isinstance(keep, str) else _listed(keep)
    if listed is None or not all(isinstance(part, str) and part in PARTS for part in listed):
        expected, fix = f"some of {', '.join(PARTS)}", "Leave it out for all; layers= and keys= keep what they name."
        raise LayerError(f"keep={reprlib.repr(keep)}", expected=expected, fix=fix)
    return frozenset(["global", *listed])


def check_workers(count: object) -> int | None:
    """Refuse a number of threads that is no whole number from 0.

    Raises:
        LayerError: it is not.

    Example:
        >>> check_workers(4)
        4
    """
    if count is not None and not is_whole(count, 0):
        got, expected = f"workers={reprlib.repr(count)}", "a whole number of threads, 0 for none"
        raise LayerError(got, expected=expected, fix="Leave it out: how many pays depends on the device.")
    return count


def check_keys(kind: object) -> str:
    """Refuse a kind of keys that there is not.

    Raises:
        LayerError: neither `""`, `"key"` nor `"projected"`.

    Example:
        >>> check_keys("key")
        'key'
    """
    if not isinstance(kind, str) or kind not in ("", "key", "projected"):
        expected, fix = "'', 'key' or 'projected'", "keys='key' is the pool's own."
        raise LayerError(f"keys={reprlib.repr(kind)}", expected=expected, fix=fix)
    return kind


def choose_paths(value: object) -> DensePath | tuple[DensePath, ...]:
    """Find the path, or the paths of a list; which names there are is the table's to say.

    Raises:
        LayerError: something else, a name that is not there, an empty list, or one name twice.

    Example:
        >>> choose_paths("value").name, [path.name for path in choose_paths(["value", "vanilla"])]
        ('value', ['value', 'vanilla'])
    """
    if isinstance(value, str | DensePath):
        return choose_path(value)
    paths = _listed(value.tolist() if isinstance(value, np.ndarray) else value)
    if not paths or not all(isinstance(path, str | DensePath) for path in paths):
        expected = "a name, a DensePath(...), or a list of them"
        raise LayerError(f"path={reprlib.repr(value)}", expected=expected, fix="Try path='value'.")
    chosen = tuple(map(choose_path, paths))
    names = [path.name for path in chosen]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise LayerError(f"path {twice!r} twice", expected="each path once", fix=f"Leave one {twice!r} out.")
    return chosen


def check_batch_size(size: object) -> int:
    """Refuse a batch size that is no whole number of at least 1.

    Raises:
        LayerError: it is not.

    Example:
        >>> check_batch_size(8)
        8
    """
    if not is_whole(size, 1):
        got, expected = f"batch_size={reprlib.repr(size)}", "a whole number of at least 1"
        raise LayerError(got, expected=expected, fix="Try batch_size=8.")
    return min(size, sys.maxsize)


def require_several(images: Iterable[Item]) -> Iterable[Item]:
    """Refuse one image where several are due: a path would be read as letters, an array as rows.

    What has places and a length and no more, as many data sets of torch, is gone through place by place.

    Raises:
        ImageError: one image, or nothing that can be gone through.

    Example:
        >>> list(require_several(["cat.jpg"]))
        ['cat.jpg']
    """
    listed: Any = images
    if not isinstance(listed, Iterable) and all(hasattr(type(listed), name) for name in ("__len__", "__getitem__")):
        return (listed[place] for place in range(len(listed)))
    one = isinstance(images, str | bytes | os.PathLike) or not isinstance(images, Iterable)
    if one or (isinstance(images, np.ndarray) and images.ndim < 4):
        got = f"one {type(images).__name__} where several images are due"
        fix = "Put it into a list, or call model.trace for one image."
        raise ImageError(got, expected="a list of images, or an array (image, row, column, rgb)", fix=fix)
    return images


def list_texts(value: object) -> list[str]:
    """List plain texts; what each of them may be is the tokenizer's to say.

    Raises:
        PromptError: one text without a list around it, or nothing that can be gone through.

    Example:
        >>> list_texts(("a cat", "grass"))
        ['a cat', 'grass']
    """
    value = value.tolist() if isinstance(value, np.ndarray) else value
    listed = None if isinstance(value, str) else _listed(value)
    if listed is None:
        got = f"texts came as {reprlib.repr(value)}"
        raise PromptError(got, expected="a list with at least one text", fix="Put the text into a list.")
    return listed


def require_pixels(value: object, size: tuple[int, int]) -> Tensor:
    """Refuse what is not a batch of preprocessed images of the model's own size.

    Raises:
        ImageError: no tensor `(image, 3, H, W)` of floats.

    Example:
        >>> import torch
        >>> require_pixels(torch.zeros(2, 3, 32, 32), (32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """
    got = f"pixels as {type(value).__name__}"
    if isinstance(value, Tensor):
        got = f"pixels of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
        if value.is_floating_point() and value.shape[1:] == (3, *size) and len(value):
            return value
    expected = f"floats (image, 3, {size[0]}, {size[1]}), preprocessed"
    raise ImageError(got, expected=expected, fix="model.trace(image).pixels[None] is such a batch of one.")


def require_finite(embedding: Tensor) -> Tensor:
    """Refuse an embedding that is no direction.

    Raises:
        ImageError: NaN or infinity in it.
    """
    if not bool(embedding.isfinite().all()):
        got = "pixels whose embedding holds NaN or infinity"
        raise ImageError(got, expected="finite pixels, normalised by mean and std", fix="Look at pixels.max().")
    return embedding


def require_nonzero(trace: Trace) -> Trace:
    """Refuse a trace whose embedding is zero: it has no cosine with anything.

    Raises:
        WeightsError: it is.
    """
    if not bool(trace.global_embedding.any()):
        got, fix = f"an embedding of {trace.name} that is zero everywhere", "Check the checkpoint."
        raise WeightsError(got, expected="weights that give it a direction", fix=fix)
    return trace


def require_same_model(
    trace: Trace, provenance: Mapping[str, str | int], geometry: object = None, is_run_again: bool = False
) -> Trace:
    """Refuse a trace of another model, whose features lie in another space, and options that come too late.

    Of this model loaded otherwise it may be where texts alone are new, and these the same; where the image tower
    `is_run_again`, that must be the same too.

    Returns:
        The trace, on the CPU.

    Raises:
        LayerError: another model made it, or this one with another activation or preparation of images.
        GeometryError: a geometry was asked for, but the image was fitted already.
    """
    theirs = [str(trace.provenance.get(name, provenance[name])) for name in ("model", "weights_hash")]
    mine = [str(provenance[name]) for name in ("model", "weights_hash")]
    if theirs != mine:
        got = f"a trace of {trace.name} by {theirs[0]} (weights {theirs[1]})"
        raise LayerError(got, expected=f"one by {mine[0]} (weights {mine[1]})", fix="Trace it with this model.")
    facts = tower_facts if is_run_again else text_facts
    for what, fact in facts(provenance).items():
        if (other := facts({**provenance, **trace.provenance})[what]) != fact:
            got = f"a trace of {trace.name} with the {what} {other}"
            raise LayerError(got, expected=f"this model's, {fact}", fix="Trace it with this model.")
    if geometry is not None:
        got = f"geometry={reprlib.repr(geometry)} for a trace, whose image was fitted already"
        raise GeometryError(got, expected="none with a trace", fix="Pass the image, or trace with that geometry.")
    return trace.to("cpu")


def _listed(value: object) -> list[str] | None:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping) else None


def refuse_trace(image: Item) -> Item:
    """Refuse a trace where an image is wanted: it holds a reduced copy, which would be traced in its place.

    Raises:
        ImageError: a trace.
    """
    if isinstance(image, Trace):
        got, fix = f"the trace of {image.name}", "Pass the image, or the trace to compare, segment or classify."
        raise ImageError(got, expected="an image", fix=fix)
    return image
