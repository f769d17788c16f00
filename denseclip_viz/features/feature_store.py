"""A store of features, opened: what is in it, and texts against it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import ImageError, LayerError, OutputError, PromptError
from denseclip_viz.features.feature_question import Question, refuse_other_texts
from denseclip_viz.features.feature_rows import FeatureRows
from denseclip_viz.features.feature_shards import Shard, verify_shard
from denseclip_viz.features.image_identity import identify
from denseclip_viz.features.manifest import Manifest, StoredImage
from denseclip_viz.features.shard_reader import ShardReader, not_as_written
from denseclip_viz.html import repr_html
from denseclip_viz.images import ImageLike, display, read
from denseclip_viz.maps.similarity import named, similarity
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import PARTS, Trace
from denseclip_viz.validation import check_path, is_whole, many, short_name, strings

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import PromptsLike

Texts = Model | Tensor
"""A model, which encodes the prompts, or their vectors `(template, prompt, D)`, of any length."""


@guarded
class FeatureStore:
    """Features of images on disk; see `encode` for what is in it.

    Of each image its global embedding and its dense features: cosines with any text, maps, searches, segmentations,
    shares and whole evaluations are made of these. Contributions, attention, gap, layers and keys are not in it: they
    need the image.

    Args:
        folder: What `encode` was given.

    Attributes:
        folder: Where it is.
        images: What is known of each image, but for those that could not be read.
        unread: Those.
        known: All, by their key.
        provenance: Model, weights, preprocessing, path and versions.
        paths: The paths to dense features.
        keep: What is kept: `"global"`, `"dense"`.
        dtype: In which numbers.
        question: What decides them: for each part its fingerprint, and what it is in words.
        path_fingerprints: Of each path all its switches.
        rows: The numbers themselves.

    Raises:
        OutputError: no store, or a damaged one.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = check_path(folder, "the folder")
        manifest = Manifest(self.folder)
        header, self.known = manifest.header, manifest.images
        if not header:
            got = f"{short_name(self.folder)} is no store of features yet"
            raise OutputError(got, expected="one that a batch was written to", fix="Encode images into it.")
        self.images: tuple[StoredImage, ...] = tuple(image for image in self.known.values() if image.shard)
        self.unread: tuple[StoredImage, ...] = tuple(image for image in self.known.values() if image.unread)
        self.provenance: dict[str, str | int] = header["provenance"]
        self.question: Question = header["question"]
        self.path_fingerprints: dict[str, str] = header["paths"]
        self.paths: tuple[str, ...] = tuple(self.path_fingerprints)
        self.keep: tuple[str, ...] = tuple(header["keep"])
        self.dtype: str = header["dtype"]
        self._path_axis: bool = header["path_axis"]
        self.rows = FeatureRows(self.images, self.keep, self.paths, ShardReader(self.folder))

    @property
    def names(self) -> tuple[str, ...]:
        """The images' names, in the order in which they came."""
        return tuple(image.name for image in self.images)

    def caution_of(self, numbers: Iterable[int]) -> str:
        """Say what must be said with numbers of these images: that of the first which has something; else nothing."""
        return next(filter(None, (self.images[number].caution for number in numbers)), "")

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """The files that count."""
        return tuple(dict.fromkeys(image.shard for image in self.images if image.shard))

    @property
    def error(self) -> float:
        """How far a stored unit vector is from the one in full precision at most: no cosine is farther off."""
        return max((shard.error for shard in self.shards), default=0.0)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(shard.bytes for shard in self.shards)

    def find(self, image: int | str | os.PathLike[str]) -> int:
        """Find the number of an image by its path, by its name where no other has it, or by the number itself.

        Raises:
            ImageError: it is not in the store, or the name is that of several.
        """
        if is_whole(image):  # NumPy's too, as `search` gives them
            if 0 <= image < len(self):
                return int(image)
            got, expected = f"image number {image} of a store of {len(self)}", f"a number from 0 to {len(self) - 1}"
            raise ImageError(got, expected=expected, fix="store.names lists the images in their order.")
        if not isinstance(image, str | os.PathLike):
            got, expected = f"an image named by {type(image).__name__}", "its path, its name or its number"
            raise ImageError(got, expected=expected, fix="store.names lists the images in their order.")
        text = os.fspath(image)
        numbers = self._numbers.get(os.path.abspath(text)) or self._numbers.get(text) or []
        if len(numbers) != 1:
            got = f"{short_name(text)} is {'the name of several images' if numbers else 'not'} in the store"
            raise ImageError(got, expected="an image that was encoded", fix="Pass its path, or its number.")
        return numbers[0]

    def recognise(self, image: ImageLike) -> int | None:
        """Find the number of an image that is stored as it is now, its file's bytes or its pixels; else None.

        Raises:
            ImageError: it could not be read when it was encoded, or is in memory and cannot be read.
        """
        now = identify(image, self.known)
        stored = self.known.get(now.key)
        if stored is None or stored.digest != now.digest:
            return None
        if stored.unread:
            got, expected, fix = stored.unread
            raise ImageError(got, expected=expected, fix=fix)
        return self._places.get(stored.key)

    def trace(self, image: int | str | os.PathLike[str], *, path: str | Sequence[str] | None = None) -> Trace:
        """Take what is kept of an image as its trace; no forward pass is made.

        `Model.similarity`, `classify` and `segment` take it as any trace. It has no image: `read_image` gives that.
        `path` names one path, or several that get an axis; by default those that were encoded, as they were.

        Raises:
            ImageError: it is not in the store.
            LayerError: a path that is not.
            OutputError: its file of features is damaged.
        """
        number = self.find(image)
        path = (list(self.paths) if self._path_axis else self.paths[0]) if path is None else path
        if not (paths := strings(path, "path")):
            got, expected = f"path={path!r}", f"some of {', '.join(self.paths)}"
            raise LayerError(got, expected=expected, fix="Leave it out for what was encoded.")
        stored, values = self.images[number], dict[str, Any]()
        assert stored.geometry is not None
        if "global" in self.keep:
            values["global_embedding"] = self.rows.raw(number, "global")[0]
        if "dense" in self.keep:
            each = torch.stack([self.rows.raw(number, "dense", one) for one in paths])
            dense = each.unflatten(1, stored.geometry.grid)
            values["dense"] = dense[0] if isinstance(path, str) else dense
        provenance = {**self.provenance, "path": ", ".join(paths), "features": f"stored as {self._numbers_are}"}
        provenance |= {"caution": stored.caution} if stored.caution else {}
        values |= {"geometry": stored.geometry, "name": stored.name, "provenance": provenance}
        missing = dict.fromkeys(chain(*PARTS.values()))
        return Trace(**{**missing, **values}, paths=paths, parts=frozenset(self.keep))

    def read_image(self, image: int | str | os.PathLike[str]) -> NDArray[np.uint8]:
        """Read an image from its file, for figures: `(row, column, rgb)`, at most 1024 px long.

        Raises:
            ImageError: it is not in the store, its file cannot be read, or it was in memory.
        """
        stored = self.images[self.find(image)]
        if not stored.file:
            got, fix = f"{stored.name} was in memory when it was encoded, and is not kept", "Pass the image yourself."
            raise ImageError(got, expected="an image file", fix=fix)
        return display(read(stored.file))

    def similarity(self, image: int | str | os.PathLike[str], texts: Texts, prompts: PromptsLike) -> xr.DataArray:
        """Compare the dense features of an image with every prompt in every template.

        Args:
            image: Its path, name or number.
            texts: The model that encoded the images, or the prompts' vectors `(template, prompt, D)`.
            prompts: Texts, or `Prompts`.

        Returns:
            What `Model.similarity` returns, but for the error that the store states.

        Raises:
            PromptError: vectors that do not fit the prompts, or the store.
            LayerError: another model, or a store without dense features.
        """
        chosen = Prompts.of(prompts)
        trace, vectors = self.trace(image), self.vectors(texts, chosen)
        return similarity(trace, vectors, chosen)

    def scores(self, texts: Texts, prompts: PromptsLike) -> xr.DataArray:
        """Compare the global embedding of every image with every prompt in every template.

        Returns:
            Raw cosines `(image, template, prompt)`, all at once in memory; `features.search` needs less.

        Raises:
            PromptError: vectors that do not fit the prompts, or the store.
            LayerError: another model, or a store without global embeddings.
        """
        import xarray as xr

        chosen = Prompts.of(prompts)
        vectors = self.vectors(texts, chosen)
        scores = np.empty((len(self), *vectors.shape[:2]), np.float32)
        for block in self.rows.blocks("global"):
            product = block.rows @ vectors.flatten(0, 1).T
            scores[block.images.start : block.images.stop] = product.clamp(-1, 1).unflatten(1, vectors.shape[:2])
        coords: dict[str, Any] = {"image": list(self.names), "template": list(chosen.templates)}
        coords |= {"prompt": list(chosen.prompts), "absent": ("prompt", np.array(chosen.absent))}
        attrs = {**self.provenance, **named("global embeddings against text")}
        return xr.DataArray(scores, dims=("image", "template", "prompt"), coords=coords, name="score", attrs=attrs)

    def verify(self) -> tuple[str, ...]:
        """Read all of the store, and compare each file with its checksum.

        Returns:
            The paths of images whose file has changed since, or is not there.

        Raises:
            OutputError: files that are not what was written, by their names, or that were replaced since it was opened.
        """
        broken = [shard for shard in self.shards if not verify_shard(self.folder, shard)]
        if broken:
            raise not_as_written(self.folder, broken)
        return tuple(image.file for image in self.images if image.file and not _is_as_it_was(image))

    def vectors(self, texts: Texts, prompts: Prompts) -> Tensor:
        """Give the prompts' unit vectors `(template, prompt, D)` in fp32, of the model that encoded the images.

        Raises:
            LayerError: another model, or the same loaded otherwise.
            PromptError: vectors of another shape.
        """
        if isinstance(texts, Model):
            refuse_other_texts(texts.provenance, self.provenance)
            return F.normalize(texts.texts.encode(prompts).float(), dim=-1)
        due = (len(prompts.templates), len(prompts), self.rows.width)
        if not isinstance(texts, Tensor) or tuple(texts.shape) != due:
            got = f"vectors of shape {tuple(getattr(texts, 'shape', ()))}"
            raise PromptError(got, expected=f"(template, prompt, D): {due}", fix="Or pass the model that encodes them.")
        if not texts.isfinite().all():
            got, fix = "vectors with NaN or infinite numbers", "Look at what made them."
            raise PromptError(got, expected="finite numbers", fix=fix)
        return F.normalize(texts.float(), dim=-1)

    @cached_property
    def _numbers_are(self) -> str:
        return self.dtype + (f", cosines within {self.error:.1e}" if self.error else "")

    @cached_property
    def _places(self) -> dict[str, int]:
        return {image.key: number for number, image in enumerate(self.images)}

    @cached_property
    def _numbers(self) -> dict[str, list[int]]:
        numbers: dict[str, list[int]] = {}
        for number, image in enumerate(self.images):
            for key in {image.file, image.name} - {""}:
                numbers.setdefault(key, []).append(number)
        return numbers

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[type[FeatureStore], tuple[str]]:
        return type(self), (os.path.abspath(self.folder),)  # a worker opens it for itself

    def __repr__(self) -> str:
        size = f"{self.nbytes / 1e6:.1f} MB, {self._numbers_are}"
        unread = f", {len(self.unread)} unread" if self.unread else ""
        what = f"{' and '.join(self.keep)} of {self.provenance.get('model')}, {', '.join(self.paths)}"
        return f"FeatureStore({many(len(self), 'image')}{unread}, {what}: {size})"

    def _repr_html_(self) -> str:
        facts = {
            "images": f"{len(self)}" + (f", and {len(self.unread)} that cannot be read" if self.unread else ""),
            "model": f"{self.provenance.get('model')}, {self.provenance.get('weights')}",
            "kept": f"{' and '.join(self.keep)}; {', '.join(self.paths)}",
            "numbers": self._numbers_are,
            "on disk": f"{self.nbytes / 1e6:.1f} MB in {many(len(self.shards), 'file')}",
        }
        return repr_html("Store of features", facts, after="store.similarity(image, model, prompts)")


@guarded
def open_store(folder: str | os.PathLike[str]) -> FeatureStore:
    """Open a store of features; nothing of it is read but the list of images.

    Returns:
        The store.

    Raises:
        OutputError: no store, or a damaged one.

    Example:
        >>> import tempfile, denseclip_viz as dcv
        >>> model, scene = dcv.load(), dcv.toyworld.scene("a red car on grass", size=64)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = dcv.features.encode(model, [scene], folder, progress=False)
        ...     store = dcv.features.open_store(folder)
        ...     store.similarity(0, model, ["a red car", "grass"]).shape
        (1, 2, 8, 8)
    """
    return FeatureStore(folder)


def _is_as_it_was(image: StoredImage) -> bool:
    return identify(image.file, {}).digest == image.digest
