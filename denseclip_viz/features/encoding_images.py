"""Images to a store of features: each encoded once, in batches that are the same however the work is split."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz import arguments
from denseclip_viz.clip.prefetch import ahead, threads
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import image_of
from denseclip_viz.errors import ImageError, OutputError, warn
from denseclip_viz.features.feature_question import path_fingerprints, question_of, with_preset
from denseclip_viz.features.feature_store import FeatureStore
from denseclip_viz.features.image_identity import UNOPENED, identify
from denseclip_viz.features.manifest import StoredImage
from denseclip_viz.features.store_writer import StoreWriter, opened
from denseclip_viz.images import ImageLike, unwrapped
from denseclip_viz.progress import bar, traced_beside
from denseclip_viz.trace import Trace
from denseclip_viz.validation import check_function, check_path, one_of

if TYPE_CHECKING:
    from denseclip_viz.model import FitLike, Model, PathLike
    from denseclip_viz.presets import Preset

KINDS = ("global", "dense")
DTYPES = {"float16": torch.float16, "float32": torch.float32}


class Item(NamedTuple):
    """An image to be encoded, and what it is known by."""

    image: ImageLike
    stored: StoredImage


class Batch:
    """Images that are encoded together, and what has come of it.

    Args:
        items: Those images, and what could not be read when they were encoded before.
    """

    def __init__(self, items: list[Item]) -> None:
        self.stored = {item.stored.key: item.stored for item in items}
        self.fed = [(item.image, (self, item)) for item in items if not item.stored.unread]
        self.traces: list[Trace] = []
        self.left = len(self.fed)

    def add(self, item: Item, trace: Trace) -> None:
        """Take what an image gave."""
        caution = str(trace.provenance.get("caution", ""))
        self._known(item, geometry=trace.geometry, caution=caution)
        self.traces.append(trace)

    def leave_out(self, item: Item, error: ImageError) -> None:
        """Note that an image cannot be read; of one that was stored with the same bytes that stays."""
        if item.stored.shard:
            del self.stored[item.stored.key]
            self.left -= 1
        else:
            self._known(item, unread=(error.got, error.expected, error.fix))

    def _known(self, item: Item, **facts: Any) -> None:
        self.stored[item.stored.key] = item.stored._replace(**facts)
        self.left -= 1

    def write(self, writer: StoreWriter, dtype: torch.dtype) -> None:
        """Keep all of it."""
        writer.add(list(self.stored.values()), *(packed(self.traces, dtype) if self.traces else ({}, 0.0)))


Unreadable = Callable[[ImageLike, ImageError], object]
Begun = tuple[ImageLike, Mapping[str, StoredImage], StoredImage | ImageError | None]


@guarded
def encode(
    model: Model,
    images: Iterable[Any],
    folder: str | os.PathLike[str],
    *,
    path: PathLike | None = None,
    geometry: FitLike | None = None,
    preset: str | Preset | None = None,
    keep: Sequence[str] = KINDS,
    dtype: str = "float16",
    batch_size: int = 8,
    unreadable: Unreadable | None = None,
    progress: bool = True,
) -> FeatureStore:
    """Encode images once, into a store that texts are compared with later, without the model's image tower.

    A batch is written as soon as it is encoded, while images of the next are read: a kill at any moment loses what is
    in flight and no other batch, and the same call goes on behind it, to the same bytes. Images that come later are
    added, and the last batch, where it was not full, is encoded again with them, so that it does not matter in how many
    calls they came. A file that has changed is encoded again, with a warning; of one that cannot be opened now, what is
    stored stays; one that could not be read is not tried again until it changes.

    Args:
        model: A loaded model.
        images: Or a data set, whose masks are not looked at. Files are known by their paths, and by size, time and
            content; others by their pixels. Each is stored once, in the order in which they first came.
        folder: A new folder, or a store that the same model, path, geometry, `keep`, `dtype` and batches have begun.
        path: As for `Model.trace`; several in a list come of the same pass.
        geometry: As for `Model.trace`.
        preset: As for `measure.evaluate_segmentation`: path and geometry where they are not given, on this data set.
        keep: `"global"` embeddings, `"dense"` features, or both. Attention and contributions are not kept.
        dtype: `"float16"`: unit vectors, and their lengths in fp32; or `"float32"`, twice as large: vectors as the
            model gives them, so that whatever is made of them is the same number.
        batch_size: Images in one forward pass, and in one file of the store.
        unreadable: Called with an image that cannot be read and its error; by default a warning names it.
        progress: Show a bar where somebody can see it.

    Returns:
        The store, of everything that is in it.

    Warns:
        UserWarning: an image cannot be read, or has changed since it was encoded.

    Raises:
        OutputError: a store of something else, one that another process writes to, or a full disk.
        ImageError: no image that can be read.

    Example:
        >>> import tempfile, denseclip_viz as dcv
        >>> scenes = [dcv.toyworld.scene(text, size=64) for text in ("a red car", "a taxi")]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dcv.features.encode(dcv.load(), scenes, folder, progress=False).names
        ('scene 64 x 64', 'scene 64 x 64')
    """
    place = check_path(folder, "the folder")
    path, geometry = with_preset(model, images, preset, path, geometry)
    options = {"path": path, "geometry": geometry, "batch_size": arguments.check_batch_size(batch_size)}
    kinds = _kinds(keep)
    one_of(dtype, tuple(DTYPES), "dtype", error=OutputError)
    paths = path_fingerprints(path)
    question = question_of(model, geometry) | {
        "path": (str(paths), ", ".join(paths)),
        "keep": (str(kinds), ", ".join(kinds)),
        "dtype": (dtype, dtype),
        "size of batches": (str(batch_size), str(batch_size)),
    }
    provenance = {**model.provenance, "path": ", ".join(paths), "tower": model.tower.family}
    about = {"provenance": provenance, "paths": paths, "path_axis": _is_list(path), "keep": kinds, "dtype": dtype}
    leave_out = check_function(unreadable, "unreadable") or _warn_of
    total = length_hint(images) or None
    with opened(place, question, about) as writer, bar("images", wanted=progress, total=total) as advance:
        batches = _batches(writer, images, batch_size, leave_out, lambda done: advance(done, total or 0))
        _encode(model, writer, batches, DTYPES[dtype], leave_out, options | {"keep": kinds})
    store = FeatureStore(place)
    if not len(store):
        got, expected = "Images of which none can be read", "at least one"
        raise ImageError(got, expected=expected, fix="Look at the paths.")
    return store


def _batches(
    writer: StoreWriter,
    images: Iterable[ImageLike],
    size: int,
    unreadable: Unreadable,
    advance: Callable[[int], object],
) -> Iterator[Batch]:
    """Give what is not stored yet in batches, the first of them behind what a batch that was not full holds."""
    waiting: list[Item] = []
    given: set[str] = set()
    with threads(1) as pool:
        identified = ahead(_identified, _begun(images, writer.manifest.images), pool, most=size)
        for done, (image, stored) in enumerate(identified):
            item = _fresh(writer, image, stored, unreadable)
            if item is not None and item.stored.key not in given:
                waiting = waiting or ([] if given else _unfilled(writer, size))
                waiting.append(item)
                given.add(item.stored.key)
            if len(waiting) == size:
                yield Batch(waiting)
                waiting = []
            advance(done + 1)
        if waiting:
            yield Batch(waiting)


def _begun(images: Iterable[ImageLike], known: Mapping[str, StoredImage]) -> Iterator[Begun]:
    """Identify what is in memory at once: whoever passes it may change or close it. Leave files to a thread."""
    for image in map(arguments.refuse_trace, map(image_of, arguments.require_several(images))):
        begun = image, known, None
        yield begun if isinstance(unwrapped(image), str | os.PathLike) else (image, known, _identified(begun)[1])


def _identified(begun: Begun) -> tuple[ImageLike, StoredImage | ImageError]:
    image, known, outcome = begun
    try:
        return image, outcome or identify(image, known)
    except ImageError as error:  # an image in memory that is none
        return image, error


def _fresh(
    writer: StoreWriter, image: ImageLike, stored: StoredImage | ImageError, unreadable: Unreadable
) -> Item | None:
    """Look an image up: None of one that is stored, or that could not be read and is the same still."""
    if isinstance(stored, ImageError):
        unreadable(image, stored)
        return None
    before = writer.manifest.images.get(stored.key)
    if before is not None and before.shard and stored.digest in UNOPENED:
        got, fix = f"{before.name} cannot be opened now: what is stored of it stays", "Look whether its disk is there."
        unreadable(image, ImageError(got, expected="the file that was encoded", fix=fix))
        return None
    if before is None or before.digest != stored.digest:
        if before is not None and before.shard:
            warn(f"{before.name} has changed since it was encoded: encoded again.")
        return Item(image, stored)
    if before.unread:
        got, expected, fix = before.unread
        unreadable(image, ImageError(got, expected=expected, fix=fix))
        return None
    return None if before.shard else Item(image, stored)


def _unfilled(writer: StoreWriter, size: int) -> list[Item]:
    """Take the last batch up again where it was not full, and all of it is there as it was."""
    batch = writer.manifest.batch
    again = [identify(image.file, writer.manifest.images) for image in batch if image.file]
    same = [image.digest for image in again] == [image.digest for image in batch]
    counts = all(writer.manifest.images[image.key] is image for image in batch)
    return [Item(image.file, image) for image in batch] if len(batch) < size and same and counts else []


def _encode(
    model: Model,
    writer: StoreWriter,
    batches: Iterable[Batch],
    dtype: torch.dtype,
    unreadable: Unreadable,
    options: Mapping[str, Any],
) -> None:
    """Trace the images of each batch together, and write in order what is kept of them."""
    begun: deque[Batch] = deque()

    def fed() -> Iterator[list[tuple[ImageLike, tuple[Batch, Item]]]]:
        for batch in batches:
            begun.append(batch)
            yield batch.fed

    def leave_out(beside: tuple[Batch, Item], error: ImageError) -> None:
        batch, item = beside
        batch.leave_out(item, error)
        unreadable(item.image, error)

    for (batch, item), trace in traced_beside(model, fed(), leave_out, **options):
        batch.add(item, trace)
        while begun and not begun[0].left:
            begun.popleft().write(writer, dtype)
    for batch in begun:
        batch.write(writer, dtype)


def packed(traces: Sequence[Trace], dtype: torch.dtype) -> tuple[dict[str, Tensor], float]:
    """Lay features out as a shard holds them, `(image, D)` and `(position, D)` of each path.

    Returns:
        By name the vectors as they are in fp32, or unit vectors in fp16 and, in fp32, their lengths; and the largest
        distance of a unit vector as stored from the one in full precision: no cosine with any text is farther off.

    Raises:
        ImageError: features that are not finite.
    """
    features: dict[str, list[Tensor]] = {}
    if "global" in traces[0].parts:
        features["global"] = [trace.global_embedding[None] for trace in traces]
    for i, path in enumerate(traces[0].paths if "dense" in traces[0].parts else ()):
        several = [trace.dense[i] if trace.has_path_axis else trace.dense for trace in traces]
        features[f"dense: {path}"] = [dense.flatten(0, 1) for dense in several]
    tensors, error = dict[str, Tensor](), 0.0
    for name in features:
        rows = torch.cat(features[name])
        if not bool(rows.isfinite().all()):
            got, fix = f"{name} features of {traces[0].name} or its batch hold NaN or infinity", "Load it in fp32."
            raise ImageError(got, expected="a model whose features are finite", fix=fix)
        unit = F.normalize(rows, dim=-1)
        tensors[name] = (rows if dtype == torch.float32 else unit).to(dtype)
        if dtype != torch.float32:  # whose range would not hold all lengths
            tensors[f"{name}: length"] = rows.norm(dim=-1).float()
        off = F.normalize(tensors[name].to(unit.dtype), dim=-1) - unit
        error = max(error, float(off.norm(dim=-1).max()))
    return tensors, error


def _kinds(keep: Sequence[str]) -> tuple[str, ...]:
    asked = {keep} if isinstance(keep, str) else set(keep) if isinstance(keep, Iterable) else set()
    if not asked or not asked <= set(KINDS):
        got, expected = f"keep={keep!r}", f"some of {', '.join(KINDS)}"
        raise OutputError(got, expected=expected, fix="Leave it out for both.")
    return tuple(kind for kind in KINDS if kind in asked)


def _is_list(path: PathLike) -> bool:
    return isinstance(arguments.choose_paths(path), tuple)


def _warn_of(_: ImageLike, error: ImageError) -> None:
    warn(f"Left out: {error}")
