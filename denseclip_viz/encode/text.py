"""Prompts to unit text vectors: trimmed context, length buckets, a memory of what was encoded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from denseclip_viz.encode.memory import memory_guard
from denseclip_viz.encode.text_towers import context_of, encode_ids, needed
from denseclip_viz.encode.tokens import Tokenizer, token_ids
from denseclip_viz.errors import PromptError, WeightsError
from denseclip_viz.prompts import Prompts

Progress = Callable[[int, int], object]
"""Called with (done, all) after each batch."""


def encode_texts(
    clip: nn.Module,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    batch_size: int = 256,
    truncate: bool = False,
    progress: Progress | None = None,
) -> Tensor:
    """Encodes texts as `clip.encode_text` does, in batches of like length, and scales vectors to length one.

    Where padding cannot reach the result (`text_towers.trimming` says of a model whether and why) it is not
    computed: equal in exact arithmetic, and five times faster on short prompts. Other towers read the whole
    context. In fp32 a vector can differ by 1e-7 with the texts that share its batch.

    Args:
        clip: An open_clip model; nothing on it changes, its training flags neither.
        tokenizer: The model's tokenizer.
        texts: The texts, as they are to be read (no templates).
        batch_size: Texts per forward pass: the knob for memory.
        truncate: Cut texts that are longer than the context instead of refusing them.
        progress: Called with (texts done, texts in all) after each batch.

    Returns:
        (text, D) on the CPU, rows of length one, float32 (float64 when the model is).

    Raises:
        PromptError: No texts, a text that is not a string, or one that is cut at the context (and where).
        OutOfMemoryError: A batch does not fit.
        WeightsError: The text tower returned values that are not finite.

    Example:
        >>> import open_clip
        >>> vision = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1}
        >>> clip = open_clip.CLIP(4, vision, {"width": 16, "heads": 2, "layers": 1})
        >>> encode_texts(clip, open_clip.SimpleTokenizer(), ["a red car", "grass"]).shape
        torch.Size([2, 4])
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise PromptError(f"batch_size={batch_size!r}", expected="a whole number from 1", fix="Try 64.")
    ids = token_ids(tokenizer, texts, context=_context(clip, tokenizer), truncate=truncate)
    ends = needed(clip, ids)
    order = ends.argsort(stable=True)
    vectors: list[Tensor] = []
    with torch.no_grad(), memory_guard(f"batch_size (now {batch_size})"):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            vectors.append(_features(clip, ids[rows, : int(ends[rows].max())]))
            if progress is not None:
                progress(sum(map(len, vectors)), len(ids))
    return _unit(torch.cat(vectors)[order.argsort()], texts)


def ensemble(vectors: Tensor) -> Tensor:
    """Averages the unit vectors of a prompt over its templates and scales the mean to length one.

    Nothing in this package does it unasked (arXiv 2112.01071, official code, prompt_engineering.py).

    Args:
        vectors: (template, prompt, D), unit vectors.

    Returns:
        (prompt, D), unit vectors.

    Raises:
        PromptError: The templates of a prompt cancel out.

    Example:
        >>> ensemble(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
        tensor([[0.7071, 0.7071]])
    """
    mean = vectors.mean(dim=0)
    length = torch.linalg.vector_norm(mean, dim=-1, keepdim=True)
    if not bool((length > 0).all()):
        came = "Vectors of one prompt whose mean over the templates is zero or not finite"
        raise PromptError(came, expected="unit vectors (template, prompt, D)", fix="Look at the templates one by one.")
    return torch.div(mean, length)


class TextBank:
    """Unit text vectors by text: what was encoded once is not encoded again, and the least used goes first.

    Args:
        clip: An open_clip model whose weights stay as they are (call `clear` when they changed).
        tokenizer: Its tokenizer.
        size: How many texts are kept: 16384 of width 1024 are 64 MiB.

    Example:
        >>> import open_clip
        >>> vision = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1}
        >>> clip = open_clip.CLIP(4, vision, {"width": 16, "heads": 2, "layers": 1})
        >>> bank = TextBank(clip, open_clip.SimpleTokenizer())
        >>> bank.encode(["a red car", "grass"]).shape, len(bank)  # (template, prompt, D)
        (torch.Size([1, 2, 4]), 2)
    """

    def __init__(self, clip: nn.Module, tokenizer: Tokenizer, *, size: int = 16384) -> None:
        self._clip, self._tokenizer, self._size = clip, tokenizer, size
        self._kept: OrderedDict[tuple[str, bool], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def encode(
        self,
        prompts: Prompts | str | Iterable[str],
        *,
        batch_size: int = 256,
        truncate: bool = False,
        progress: Progress | None = None,
    ) -> Tensor:
        """Gives the unit vector of every prompt in every template, never averaged (`ensemble` does that).

        Args:
            prompts: Prompts, or what makes them.
            batch_size: Texts per forward pass of those that are new.
            truncate: Cut texts that are longer than the context instead of refusing them.
            progress: Called with (texts done, new texts in all) after each batch.

        Returns:
            (template, prompt, D) on the CPU, as `encode_texts`.

        Raises:
            PromptError: As `Prompts` and `encode_texts`.
            OutOfMemoryError: A batch does not fit.
        """
        table = Prompts.of(prompts).texts
        flat = [text for row in table for text in row]
        found = self._recall(flat, truncate)
        new = [text for text in dict.fromkeys(flat) if text not in found]
        if new:
            vectors = encode_texts(
                self._clip, self._tokenizer, new, batch_size=batch_size, truncate=truncate, progress=progress
            )
            found.update(zip(new, vectors, strict=True))
            self._keep(new, vectors, truncate)
        return torch.stack([found[text] for text in flat]).reshape(len(table), len(table[0]), -1)

    def clear(self) -> None:
        """Forgets every vector, for when the weights of the text tower changed."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return f"TextBank({len(self)} of at most {self._size} texts)"

    def _recall(self, texts: Sequence[str], truncate: bool) -> dict[str, Tensor]:
        """A text that was cut on request is still refused when nobody asks for the cut, hence the key."""
        with self._lock:
            known = [text for text in dict.fromkeys(texts) if (text, truncate) in self._kept]
            for text in known:
                self._kept.move_to_end((text, truncate))
            return {text: self._kept[text, truncate] for text in known}

    def _keep(self, texts: Sequence[str], vectors: Tensor, truncate: bool) -> None:
        """Each row on its own: a view would keep the whole batch alive when the other rows are dropped."""
        with self._lock:
            for text, vector in zip(texts, vectors, strict=True):
                self._kept[text, truncate] = vector.clone()
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)


def _context(clip: nn.Module, tokenizer: Tokenizer) -> int:
    """The tokenizer knows what the tower was trained with; a tower that is shorter still sets the limit."""
    known = [getattr(tokenizer, "context_length", None), context_of(clip)]
    return min([length for length in known if isinstance(length, int)], default=77)


def _features(clip: nn.Module, ids: Tensor) -> Tensor:
    found = encode_ids(clip, ids.to(next(clip.parameters()).device))
    return found.to(device="cpu", dtype=torch.float64 if found.dtype == torch.float64 else torch.float32)


def _unit(vectors: Tensor, texts: Sequence[str]) -> Tensor:
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    bad = ~(lengths.isfinite() & (lengths > 0)).squeeze(-1)
    if bad.any():
        text = texts[int(bad.nonzero()[0])]
        came = f"The text tower returned no direction for {text!r} (zero, NaN or infinite)"
        raise WeightsError(came, expected="finite numbers", fix='Load with dtype="fp32", or check the checkpoint.')
    return torch.div(vectors, lengths)
