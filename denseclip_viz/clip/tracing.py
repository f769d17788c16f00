"""From many images to their traces: preparation ahead of the device, one pass a batch, one copy a kind of result."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denseclip_viz.clip.forward import Decomposition, ForwardOptions, check_once, each_tensor, run
from denseclip_viz.clip.given import of_one_image
from denseclip_viz.clip.prefetch import ahead, cores, threads
from denseclip_viz.clip.preparation import Preparation, Prepared, nothing, warn_once
from denseclip_viz.clip.tiles import decompose_tiles
from denseclip_viz.clip.towers import Tower
from denseclip_viz.clip.towers.tower import check_miss
from denseclip_viz.errors import ImageError
from denseclip_viz.geometry import Tiles, pixels
from denseclip_viz.images import ImageLike
from denseclip_viz.trace import PARTS, Trace
from denseclip_viz.validation import check_function

Batch = list[Prepared]
MOST_WORKERS = 16


@dataclass(frozen=True, kw_only=True)
class Tracing:
    """How images become traces.

    Attributes:
        preparation: How they are brought to the tower.
        options: What is wanted of a pass.
        batch_size: Images, or windows of tiles, in one forward pass.
        workers: Threads that prepare images ahead; None for one beside a CPU, which computes as well, and one a core
            beside a GPU, which would wait.
        device: Where traces are to be. On the CPU each has memory of its own; elsewhere those of a batch share it.
        done: Which checks of the tower were done.
        on_window: Called after windows of tiles, with how many are done of an image, and of how many.
    """

    preparation: Preparation
    options: ForwardOptions
    batch_size: int = 8
    workers: int | None = None
    device: torch.device = torch.device("cpu")
    done: set[str] = field(default_factory=set)
    on_window: Callable[[int, int], object] | None = None

    @property
    def tower(self) -> Tower:
        """The image tower."""
        return self.preparation.tower

    @property
    def threads(self) -> int:
        """How many threads prepare images."""
        if self.workers is not None:
            return self.workers
        return min(cores(), MOST_WORKERS) if next(self.tower.visual.parameters()).is_cuda else 1

    def traces(
        self,
        groups: Iterable[Iterable[ImageLike]],
        unreadable: Callable[[ImageLike, ImageError], object] | None = None,
        first: Callable[[int], object] = nothing,
    ) -> Iterator[Trace]:
        """Trace images in order: neighbours in a group whose inputs have one size together, tiled ones each alone.

        Where groups end changes which images share a pass, and so the last bit of floats, but not how the work flows:
        while a batch is at work, the next one is prepared, of the same group or not.

        Beside a GPU three things go on at once: threads prepare a batch, the GPU works on the one before, and the one
        before that is copied out and taken apart.
        """
        check_function(unreadable, "unreadable")
        waits = next(self.tower.visual.parameters()).is_cuda
        with threads(self.threads) as pool:
            beside = pool if waits else None
            most = self.threads if isinstance(self.preparation.fit, Tiles) else self.batch_size
            prepared = self.preparation.of_many(groups, unreadable, pool, most, first)
            stacked = ahead(partial(_stacked, pinned=waits), self._batches(prepared), beside, most=1)
            for traces in ahead(operator.methodcaller("traces"), map(self._begun, stacked), beside, most=1):
                yield from traces

    def _batches(self, prepared: Iterable[Prepared]) -> Iterator[Batch]:
        images = of_one_image(prepared, self.options.paths, lambda p: p.inputs is None)
        alike = itertools.groupby(images, key=lambda p: (p.geometry.mode, p.geometry.input, p.group))
        for (mode, *_), several in alike:
            while batch := list(itertools.islice(several, 1 if mode == "tiles" else self.batch_size)):
                for one in batch:
                    warn_once(one.provenance, self.done)
                yield batch

    def _begun(self, stacked: tuple[Batch, Tensor | None]) -> Begun:
        """Set a device to work on a batch, and its results on their way; all of that may take a while."""
        batch, inputs = stacked
        if inputs is None:
            return self._begun_tiles(batch)
        parameter = next(self.tower.visual.parameters())
        check_once(self.tower, inputs[:1], self.options, self.done, native=batch[0].geometry.mode == "native")
        inputs = inputs.to(parameter.device, non_blocking=True)
        decomposition, miss = run(self.tower, inputs, self.options)
        result = each_tensor(_wanted(decomposition, self.options), self._placed)
        beside = self._placed(inputs) if "pixels" in self.options.parts and self.device.type != "cpu" else None
        miss = self._placed(miss) if self.device.type == "cpu" else miss
        check = partial(check_miss, miss, parameter.dtype, self.tower.family)
        ready = torch.cuda.current_stream(parameter.device).record_event() if parameter.is_cuda else None
        return Begun(batch, result, self.options, beside, check, ready)

    def _begun_tiles(self, batch: Batch) -> Begun:
        (one,) = batch
        assert one.upright is not None
        canvas = pixels(one.upright, one.geometry, self.preparation.preprocess)
        sizes: dict[str, Any] = {"batch_size": self.batch_size, "done": self.done, "on_window": self.on_window}
        whole = decompose_tiles(self.tower, canvas, one.geometry, self.options, **sizes)
        return Begun(batch, each_tensor(_wanted(whole, self.options), self._placed), self.options)

    def _placed(self, tensor: Tensor) -> Tensor:
        if not tensor.is_cuda or self.device.type != "cpu":
            return tensor.to(self.device)
        # pinned, so that the copy goes on beside whatever comes next
        host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
        return host.copy_(tensor, non_blocking=True)


@dataclass(frozen=True, eq=False)
class Begun:
    """A batch that a device is at work on.

    Attributes:
        batch: Its images.
        result: What will be there of it, where traces are to be.
        options: What is wanted.
        inputs: `(image, 3, H, W)` where traces are to be, unless that is the CPU, where each image has its own.
        check: Says whether the pass is what it should be, once it is ready.
        ready: When all is there.
    """

    batch: Batch
    result: Decomposition
    options: ForwardOptions
    inputs: Tensor | None = None
    check: Callable[[], object] | None = None
    ready: torch.cuda.Event | None = None

    def traces(self) -> list[Trace]:
        """Wait until it is ready, check it, and take it apart into images.

        Raises:
            RecompositionError: contributions and rest do not sum to the embedding.
        """
        if self.ready is not None:
            self.ready.synchronize()
        if self.check is not None:
            self.check()
        return [self._trace(i, prepared) for i, prepared in enumerate(self.batch)]

    def _trace(self, i: int, prepared: Prepared) -> Trace:
        # clones, so that one kept trace does not keep its whole batch; on a GPU each would be a launch
        own = vars(each_tensor(self.result, lambda t: t[i].clone() if t.device.type == "cpu" else t[i])).copy()
        own |= {name: own.get(name) for name in ("contributions", "even", "rest", "even_rest", "attention")}
        return Trace(
            global_embedding=own.pop("embedding"),
            geometry=prepared.geometry,
            image=prepared.image,  # type: ignore[arg-type]  # None where it is no part, and then there is none
            name=prepared.name,
            provenance=prepared.provenance,
            pixels=self._pixels(i, prepared),
            parts=self.options.parts,
            place=prepared.place,
            **own,
        )

    def _pixels(self, i: int, prepared: Prepared) -> Tensor | None:
        if self.inputs is not None:
            return self.inputs[i]
        return None if prepared.inputs is None else torch.from_numpy(prepared.inputs)


def _wanted(decomposition: Decomposition, options: ForwardOptions) -> Decomposition:
    """Leave out what is not wanted, so that it is not copied."""
    present = vars(decomposition)
    unwanted = {name for part in PARTS.keys() - options.parts for name in PARTS[part]} & present.keys()
    nothing: dict[str, Any] = {name: {} if isinstance(present[name], Mapping) else None for name in unwanted}
    return replace(decomposition, **nothing)


def _stacked(batch: Sequence[Prepared], *, pinned: bool) -> tuple[Batch, Tensor | None]:
    """Lay the inputs of a batch out as one tensor, which a GPU can fetch by itself where it is pinned."""
    if batch[0].inputs is None:
        return list(batch), None
    shape = (len(batch), *batch[0].inputs.shape)
    inputs = torch.empty(shape, dtype=torch.float32, device="cpu", pin_memory=pinned)
    np.stack([one.inputs for one in batch if one.inputs is not None], out=inputs.numpy())
    return list(batch), inputs
