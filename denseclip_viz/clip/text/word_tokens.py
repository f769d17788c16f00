"""Words inside a text: which tokens are theirs, and how much the text's vector owes to each token."""

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.clip.hooks import ThreadMode
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.surroundings import check_eval, guarded
from denseclip_viz.clip.text.text_towers import encode_ids, needed
from denseclip_viz.clip.text.tokenize import Tokenizer, token_ids
from denseclip_viz.errors import PromptError, UnsupportedTowerError

_BATCH = 64  # directions that are followed back in one pass


def words_of(text: str) -> list[str]:
    """List the words of a text, parted at white space; one that comes again gets a number.

    Example:
        >>> words_of("a cat and a dog")
        ['a', 'cat', 'and', 'a (2)', 'dog']
    """
    words = text.split()
    counts = [words[: at + 1].count(word) for at, word in enumerate(words)]
    return [word if count == 1 else f"{word} ({count})" for word, count in zip(words, counts, strict=True)]


def word_places(tokenizer: Tokenizer, template: str, prompt: str, *, context: int) -> list[slice]:
    """Find the tokens of each word of a prompt inside a template.

    A word's tokens are those that are added when the text goes on to its end; that is right only if no token of what
    stood before changes, which is checked, whatever the tokenizer is.

    Returns:
        One slice of the row of ids for each word; they are parted at white space.

    Raises:
        PromptError: The tokens do not part where the words do, or the text is longer than the context.

    Example:
        >>> import open_clip
        >>> word_places(open_clip.SimpleTokenizer(), "a photo of {}.", "a giraffe", context=77)
        [slice(4, 5, None), slice(5, 6, None)]
    """
    head, tail = template.split("{}")
    ends = [match.end() for match in re.finditer(r"\S+", prompt)]
    text = head + prompt + tail
    beginnings = [head.rstrip(), *(head + prompt[:end] for end in ends), text]
    token_ids(tokenizer, [text], context=context, truncate=False)
    # one more word behind the text shows where its tokens end, and what stands there then
    texts = [*beginnings, f"{text} {prompt.split()[0]}", ""]
    *rows, longer, empty = token_ids(tokenizer, texts, context=2 * context, truncate=True)
    edges = [_shared(row, longer) for row in rows]
    closing = empty[_shared(empty, longer)]
    clean = all(edge < len(row) and row[edge] == closing for edge, row in zip(edges, rows, strict=True))
    if not clean or any(low >= high for low, high in zip(edges[:-2], edges[1:-1], strict=True)) or edges[-1] > context:
        expected = "a tokenizer whose tokens lie inside words, and words parted by spaces"
        fix = "Pass gradient=False to leave words out only, or part the words by spaces."
        raise PromptError(f"The tokens of {text!r} do not part where its words do", expected=expected, fix=fix)
    return [slice(low, high) for low, high in zip(edges[:-2], edges[1:-1], strict=True)]


@guarded
def token_shares(clip: nn.Module, ids: Tensor, directions: Tensor) -> Tensor:
    """Multiply each token's input embedding with the gradient of cos(direction, text vector).

    The embeddings are what the tower looks up for the ids, before positions are added; parameters' gradients are not
    touched.

    Args:
        clip: An open_clip model, with any text tower that looks its tokens up in a table.
        ids: (place,), one text, padded.
        directions: (direction, D), unit vectors.

    Returns:
        (direction, place) on the CPU, float32 (float64 for an fp64 model); 0 where padding cannot reach the vector.

    Raises:
        UnsupportedTowerError: The tower does not look its tokens up.

    Source: gradient × input, Shrikumar et al. (arXiv 1605.01713).
    """
    check_eval(clip, beside="visual")
    row = ids[None, : int(needed(clip, ids[None])[0])].to(next(clip.parameters()).device)
    parts = [_followed_back(clip, row, some) for some in directions.split(_BATCH)]
    shares = torch.cat(parts).cpu()
    return F.pad(shares, (0, len(ids) - row.shape[1]))


def _followed_back(clip: nn.Module, row: Tensor, directions: Tensor) -> Tensor:
    """Copy the text for each direction: no copy depends on another, so one backward pass does for all."""
    lookup = _Lookup(row.expand(len(directions), -1))
    with torch.enable_grad(), memory_guard("the number of templates"):
        with lookup:
            vectors = encode_ids(clip, lookup.ids.clone())
        if lookup.embeddings is None:
            got, fix = f"The text tower of a {type(clip).__name__} never looked its tokens up", "Pass gradient=False."
            raise UnsupportedTowerError(got, expected="a table of token embeddings", fix=fix)
        unit = F.normalize(vectors, dim=-1)
        score = (unit * directions.to(unit.device, unit.dtype)).sum()
        (gradient,) = torch.autograd.grad(score, lookup.embeddings)
    shares = (gradient * lookup.embeddings).sum(-1).detach()
    return shares if shares.dtype == torch.float64 else shares.float()


class _Lookup(ThreadMode):
    """Take what the table of tokens gives for the ids as the start of the graph, for this thread only."""

    def __init__(self, ids: Tensor) -> None:
        super().__init__()
        self.ids = ids
        self.embeddings: Tensor | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.embedding and self.embeddings is None and args and torch.equal(args[0], self.ids):
            self.embeddings = result.detach().requires_grad_(True)
            return self.embeddings
        return result


def _shared(row: Tensor, other: Tensor) -> int:
    """Count the tokens that two rows share from the start."""
    size = min(len(row), len(other))
    apart = (row[:size] != other[:size]).nonzero()
    return int(apart[0]) if len(apart) else size
