"""Texts to unit vectors: trimmed context, length buckets, batches under a memory bound, explicit means."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.surroundings import check_eval
from denseclip_viz.clip.text.text_towers import context_of, encode_ids, needed
from denseclip_viz.clip.text.tokenize import Tokenizer, token_ids, unread
from denseclip_viz.errors import PromptError, WeightsError, warn
from denseclip_viz.validation import is_on, is_whole

Progress = Callable[[int, int], object]
"""Called with (done, all) after each batch."""

MOST_TOKENS = 2**14  # in one batch: 256 MiB of activations at width 1024, however long the texts are
BUCKET = 4  # tokens: texts whose lengths differ by less share a batch


def encode_texts(
    clip: nn.Module,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    batch_size: int = 256,
    truncate: bool = False,
    progress: Progress | None = None,
) -> Tensor:
    """Encode texts as `clip.encode_text` does, in batches of like length, and scale vectors to length one.

    Where padding cannot reach the result (`text_towers.trimming_of_model` says of a model whether and why) it is not
    computed: equal in exact arithmetic, and five times faster on short prompts. Other towers read the whole
    context. In fp32 a vector can differ by 1e-7 with the texts that share its batch.

    Args:
        clip: An open_clip model; nothing on it changes, its training flags neither.
        tokenizer: Its tokenizer.
        texts: What is read, without templates.
        batch_size: Texts per forward pass at the most, and fewer where they are long: the knob for memory.
        truncate: Cut texts that are longer than the context instead of refusing them.
        progress: Called with (texts done, texts in all) after each batch.

    Returns:
        (text, D) on the CPU, rows of length one, float32 (float64 when the model is).

    Raises:
        PromptError: No texts, a text that is not a string, or one that is cut at the context (and where).
        OutOfMemoryError: A batch does not fit.
        WeightsError: The text tower returned values that are not finite.

    Warns:
        UserWarning: Words that CLIP's own tokenizer, made from English text, takes apart into letters or bytes.

    Example:
        >>> import open_clip
        >>> vision = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1}
        >>> clip = open_clip.CLIP(4, vision, {"width": 16, "heads": 2, "layers": 1}).eval()
        >>> encode_texts(clip, open_clip.SimpleTokenizer(), ["a red car", "grass"]).shape
        torch.Size([2, 4])
    """
    result, done = torch.empty(0), 0
    for rows, vectors in encoded(clip, tokenizer, texts, batch_size=batch_size, truncate=truncate):
        if not done:
            result = vectors.new_empty(len(texts), vectors.shape[1])
        result[rows] = vectors
        done += len(rows)
        if progress is not None:
            progress(done, len(texts))
    if caution := unread(tokenizer, texts):
        warn(caution)
    return result


def encoded(
    clip: nn.Module, tokenizer: Tokenizer, texts: Sequence[str], *, batch_size: int = 256, truncate: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Encode texts batch by batch, shortest first; every text is checked before the first batch runs.

    Yields:
        Which texts these are, (row,), and their unit vectors, (row, D), on the CPU; all else is as for `encode_texts`.
    """
    if not is_whole(batch_size, 1):
        raise PromptError(f"batch_size={batch_size!r}", expected="a whole number from 1", fix="Try 64.")
    check_eval(clip, beside="visual")
    cuts = is_on(truncate, "truncate", error=PromptError)
    ids = token_ids(tokenizer, texts, context=context_length(clip, tokenizer), truncate=cuts)
    ends = needed(clip, ids)
    for rows in batches(ends, batch_size):
        with torch.no_grad(), memory_guard(f"batch_size (now {batch_size})"):
            vectors = encode_ids(clip, ids[rows, : int(ends[rows].max())].to(next(clip.parameters()).device))
            vectors = vectors.to(device="cpu", dtype=torch.float64 if vectors.dtype == torch.float64 else torch.float32)
        yield rows, _unit(vectors, [texts[row] for row in rows.tolist()])


def batches(lengths: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Sort texts by length in tokens, (text,), into batches, none over `MOST_TOKENS` tokens unless one text is.

    Yields:
        Indices of texts, (row,), each once.

    Example:
        >>> [rows.tolist() for rows in batches(torch.tensor([3, 40, 4, 3]), 2)]
        [[0, 3], [2], [1]]
    """
    order = lengths.argsort(stable=True)
    sizes = lengths[order].tolist()
    start = 0
    while start < len(sizes):
        longest = -(-sizes[start] // BUCKET) * BUCKET
        room = max(1, min(batch_size, MOST_TOKENS // longest))
        stop = start + sum(size <= longest for size in sizes[start : start + room])
        yield order[start:stop]
        start = stop


def ensemble(vectors: Tensor, weights: Sequence[float] | Tensor | None = None) -> Tensor:
    """Average the unit vectors of a prompt over its templates and scale the mean to length one.

    Nothing in this package does it unasked (arXiv 2112.01071, official code, prompt_engineering.py).

    Args:
        vectors: (template, prompt, D), unit vectors.
        weights: (template,), how much each template counts, in any unit; all the same unless given.

    Returns:
        (prompt, D), unit vectors.

    Raises:
        PromptError: The templates of a prompt cancel out, or weights that are not one number from 0 per template.

    Example:
        >>> import denseclip_viz as dcv
        >>> import torch
        >>> dcv.measure.ensemble(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), weights=[3, 4])
        tensor([[0.6000, 0.8000]])
    """
    if weights is None:
        return _scaled(vectors.mean(dim=0), "templates")
    shares = _weights(weights, len(vectors)).to(vectors)
    return _scaled(torch.tensordot(shares / shares.sum(), vectors, dims=1), "templates")


def mean_over_synonyms(vectors: Tensor, prompt_index: Sequence[int]) -> Tensor:
    """Average the unit vectors of each prompt's synonyms, template by template, and scale the means to length one.

    (template, synonym, D) becomes (template, prompt, D); the vector of a prompt with one synonym is left as it is.
    `prompt_index` is the prompt that each synonym belongs to, rising from 0.

    Example:
        >>> mean_over_synonyms(torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]]), [0, 0, 1])
        tensor([[[0.7071, 0.7071],
                 [1.0000, 0.0000]]])
    """
    owned: list[list[int]] = [[] for _ in range(max(prompt_index) + 1)]
    for synonym, prompt in enumerate(prompt_index):
        owned[prompt].append(synonym)
    if len(owned) == len(prompt_index):
        return vectors
    means = (_scaled(vectors[:, its].mean(dim=1), "wordings") if len(its) > 1 else vectors[:, its[0]] for its in owned)
    return torch.stack(list(means), dim=1)


def context_length(clip: nn.Module, tokenizer: Tokenizer) -> int:
    """Count the tokens that are read of a text, with those for begin and end.

    The tokenizer knows what the tower was trained with; a tower that is shorter still sets the limit.
    """
    known = [getattr(tokenizer, "context_length", None), context_of(clip)]
    return min([length for length in known if isinstance(length, int)], default=77)


def _scaled(means: Tensor, over: str) -> Tensor:
    lengths = torch.linalg.vector_norm(means, dim=-1, keepdim=True)
    if not bool((lengths > 0).all()):
        got = f"Vectors of one prompt whose mean over the {over} is zero or not finite"
        raise PromptError(got, expected="unit vectors that do not cancel out", fix=f"Look at the {over} one by one.")
    return torch.div(means, lengths)


def _weights(weights: Any, count: int) -> Tensor:
    try:
        shares = torch.as_tensor(weights, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        shares = torch.empty(0)
    if shares.shape == (count,) and bool(((shares >= 0) & shares.isfinite()).all()) and bool(shares.any()):
        return shares
    expected = f"{count} finite numbers from 0, one a template, not all 0"
    raise PromptError(f"weights={weights!r}"[:80], expected=expected, fix="Leave weights out to count all the same.")


def _unit(vectors: Tensor, texts: Sequence[str]) -> Tensor:
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    bad = ~(lengths.isfinite() & (lengths > 0)).squeeze(-1)
    if bad.any():
        text = texts[int(bad.nonzero()[0])]
        got = f"The text tower returned no direction for {text!r} (zero, NaN or infinite)"
        raise WeightsError(got, expected="finite numbers", fix='Load with dtype="fp32", or check the checkpoint.')
    return torch.div(vectors, lengths)
