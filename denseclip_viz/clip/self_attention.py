"""What positions attend to along a path, summed up over blocks.

    A_l = Σ_terms weight · attention of a kind          `path_attention.py` has the kinds
    y   = r · x_e  +  Σ_{l in the last n blocks}  O_l(A_l V_l)

(Q, K, V)_l are of the untouched stream, so one pass gives every path. Sources: SCLIP (arXiv 2312.01597), ClearCLIP
(2407.12442), NACLIP (2404.08181), CLIP Surgery (2304.05653), GEM (2312.00878), ResCLIP (2411.15851), ITACLIP
(2411.12044), PEARL (2603.21528), written from their formulas.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.dense_path import EITHER, KINDS, SELF, SPECTRAL, TWELVE, DensePath, Term
from denseclip_viz.clip.given import features_of, given_attention
from denseclip_viz.clip.path_attention import (
    Products,
    balanced,
    centred,
    cosines,
    nearness,
    of_lowest_entropy,
    products_of,
    products_of_gathered,
)
from denseclip_viz.clip.spectral import spectral_logits
from denseclip_viz.clip.towers.attention_record import merge_heads
from denseclip_viz.clip.towers.linearize import apply
from denseclip_viz.clip.towers.tower import BlockPass, Streams


def block_numbers(twelfths: Iterable[int], depth: int) -> list[int]:
    """Turn block numbers of a tower of twelve, from 1, into those of a tower of `depth` blocks, from 0.

    Example:
        >>> block_numbers((7, 8, 10), 12), block_numbers((7, 8, 10), 24), block_numbers((7, 8, 10), 3)
        ([6, 7, 9], [13, 15, 19], [1, 2])
    """
    return sorted({max(1, int(number * depth / TWELVE + 0.5)) - 1 for number in twelfths})


def blocks_of(path: DensePath, depth: int) -> set[int]:
    """Give the numbers, from 0, of the blocks that a path is made of in a tower of `depth` blocks."""
    if path.late:
        return set(range(depth))
    compared = compared_blocks(path)
    between = range(path.summed[0], path.summed[1] + 1) if path.summed else ()
    behind = {block_behind(number, depth) for number in (*compared, *path.smooth, *between)}
    others = [term.blocks for term in (*path.terms, *path.summed_terms) if term.kind != "similar"]
    others += [tuple(compared)] if path.heads else []
    elsewhere = [number for numbers in others for number in block_numbers(numbers, depth)]
    before = {max(depth - 2, 0)} if path.outliers == "class" else set()
    return {*range(depth)[-path.blocks :], *behind, *elsewhere, *before}


def compared_blocks(path: DensePath) -> set[int]:
    """Give the numbers, of twelve, of the blocks behind which a path compares patches to attend by it."""
    similar = [number for term in (*path.terms, *path.summed_terms) if term.kind == "similar" for number in term.blocks]
    return {*similar, *path.smooth[:1]}


def block_behind(number: int, depth: int) -> int:
    """Give the number, from 0, of the block that the stream behind block `number` of twelve enters.

    Behind the last one stands no block: the last enters what it made.

    Example:
        >>> block_behind(9, 12), block_behind(11, 12), block_behind(9, 24), block_behind(12, 12)
        (9, 11, 18, 11)
    """
    return min(block_numbers((number,), depth)[0] + 1, depth - 1)


@dataclass
class Mixer:
    """The streams of one pass, mixed along paths; what several paths share is mixed once.

    Attention of products is never laid out where heads stay apart: Σ A V is the sum of what each term's own call gives,
    which torch computes in one go.
    """

    streams: Streams
    grid: tuple[int, int]
    depth: int
    _mixed: dict[tuple[object, ...], Tensor] = field(default_factory=dict)

    def stream(self, path: DensePath) -> Tensor:
        """Sum y up for every position along a path of blocks: `(image, position, C)`."""
        blocks = [self.streams.blocks[number] for number in range(self.depth)[-path.blocks :]]
        stream = reduce(torch.add, (self.added(path, path.terms, block) for block in blocks))
        if path.residual and self.streams.entering is not None:
            stream = blocks[0].entering[:, self.prefix :] + stream
        return stream + apply(self.streams.mlp, stream) if path.mlp and self.streams.mlp else stream

    @property
    def prefix(self) -> int:
        """Tokens before the positions."""
        return self.streams.blocks[self.depth - 1].entering.shape[1] - self.grid[0] * self.grid[1]

    def moved(self, stream: Tensor) -> BlockPass:
        """Give the last block as another stream, `(image, token, C)`, would enter it."""
        last = self.streams.blocks[self.depth - 1]
        return replace(last, entering=stream, call=last.call_on(stream))

    def behind(self, number: int) -> Tensor:
        """Give the stream behind a block, by its number of twelve."""
        return self.streams.blocks[block_behind(number, self.depth)].entering

    def compared(self, path: DensePath, number: int) -> Tensor:
        """Give the patches behind a block that a path compares, `(image, position, C)`."""
        stream, prefix = self.behind(number), self.prefix
        if not path.heads:
            return stream[:, prefix:]
        block = self.streams.blocks[block_numbers((number,), self.depth)[0]]
        own, keys = (products_of(block, kind, None, 0).weights(0, 0) for kind in ("qk", "kk"))
        gathers = of_lowest_entropy(keys, path.heads, own) @ merge_heads(block.value)
        return (stream + apply(block.out, gathers))[:, prefix:]

    def added(
        self, path: DensePath, terms: tuple[Term, ...], into: BlockPass, alike: dict[int, Tensor] | None = None
    ) -> Tensor:
        """Give O(A V) of a block for every position, `(image, position, C)`; no terms: each attends to itself.

        Args:
            path: The path.
            terms: Its terms, or those of its sum.
            into: The block whose values are mixed, and which a term without blocks is of.
            alike: Cosines of patches behind blocks; by default those of the untouched streams.
        """

        def similarity(number: int) -> Tensor:
            return cosines(self.compared(path, number)) if alike is None else alike[number]

        if not terms:
            heads = into.value[:, :, self.prefix :]
        elif path.heads:
            attention = sum(self._spread(path, term, into, similarity) * term.weight for term in terms)
            assert isinstance(attention, Tensor)
            merged = of_lowest_entropy(attention, path.heads) @ merge_heads(into.value) / into.value.shape[1]
            return apply(into.out, merged)
        else:
            heads = reduce(torch.add, self._shares(path, terms, into, similarity))
        return apply(into.out, merge_heads(heads))

    def _shares(
        self, path: DensePath, terms: tuple[Term, ...], into: BlockPass, similarity: Callable[[int], Tensor]
    ) -> Iterator[Tensor]:
        """Give what terms add to A V of one block, `(image, head, position, channel)` each."""
        gather = [term for term in terms if _gathers(path, term.kind)]
        if gather:
            yield self._gather(path, gather, into)
        yield from (self._attend(path, term, into, similarity) for term in terms if term not in gather)

    def _gather(self, path: DensePath, terms: list[Term], into: BlockPass) -> Tensor:
        """Give the share of all terms whose tokens gather first: in one call, for each takes many small steps."""
        sources = [(source, term) for term in terms for source in self._sources(term, into)]
        assert path.iterations is not None
        products = products_of_gathered(
            [(source, term.kind) for source, term in sources], path.iterations, self._near(path)
        )
        mixed = products.mix(into.value.expand(len(sources), -1, -1, -1, -1).flatten(0, 1), *self._prefix(path))
        shares = [term.weight / max(1, len(term.blocks)) for _, term in sources]
        first, *others = mixed.unflatten(0, (len(sources), -1))
        share: Tensor = first * shares[0]
        for more, weight in zip(others, shares[1:], strict=True):
            share.add_(more, alpha=weight)
        return share

    def _attend(self, path: DensePath, term: Term, into: BlockPass, similarity: Callable[[int], Tensor]) -> Tensor:
        """Give the share of one term."""
        if not _of_products(term):
            weights = self._laid_out(path, term, into, similarity)
            return term.weight * (weights @ into.value[:, :, -weights.shape[-1] :])
        each = [self._mix(path, term.kind, source, into) for source in self._sources(term, into)]
        share = term.weight / len(each)
        return reduce(torch.add, each) if share == 1 else reduce(torch.add, each) * share

    def _mix(self, path: DensePath, kind: str, source: BlockPass, into: BlockPass) -> Tensor:
        """Mix the values of one block by the attention of one kind in another, or in itself."""
        key = (kind, source, into, path.gaussian if kind in SELF else 0, path.class_key)
        if key not in self._mixed:
            prefix, first = self._prefix(path)
            self._mixed[key] = self._products(path, kind, source).mix(into.value, prefix, first)
        return self._mixed[key]

    def _spread(self, path: DensePath, term: Term, into: BlockPass, similarity: Callable[[int], Tensor]) -> Tensor:
        """Lay the attention of one term out over all tokens, `(image, head, position, token)`."""
        prefix, first = self._prefix(path)
        if _of_products(term):
            each = [self._products(path, term.kind, s).weights(prefix, first) for s in self._sources(term, into)]
            weights = torch.stack(each).mean(0)
        else:
            weights = self._laid_out(path, term, into, similarity).expand(-1, into.value.shape[1], -1, -1)
        return F.pad(weights, (into.value.shape[2] - weights.shape[-1], 0))

    def _laid_out(self, path: DensePath, term: Term, into: BlockPass, similarity: Callable[[int], Tensor]) -> Tensor:
        """Lay attention that is no product out, `(image, 1 or head, position, the last of the tokens)`."""
        prefix = self.prefix
        if term.kind == "similar":
            return torch.stack([centred(similarity(number)) for number in term.blocks]).mean(0)[:, None]
        if term.kind == "balanced":
            return self._balanced(term)[:, :, prefix:]
        if term.kind in SPECTRAL:
            return self._spectral(path, term, into)
        return given_attention(path, term.kind, self.grid, into.value[:, :, prefix:]).to(into.value)

    def _spectral(self, path: DensePath, term: Term, into: BlockPass) -> Tensor:
        keys, near = into.key[0, :, self.prefix :], self._near(path)
        features = features_of(path, self.grid)[0]
        logits = spectral_logits(keys, features, into.call.scale, released=term.kind != "spectral")
        if near is not None:
            logits = logits + near[self.prefix :, self.prefix :]
        return torch.softmax(logits, dim=-1)[None]

    def _balanced(self, term: Term) -> Tensor:
        blocks = [self.streams.blocks[number] for number in block_numbers(term.blocks, self.depth)]
        key = ("balanced", *blocks)
        if key not in self._mixed:
            total = sum(products_of(block, "qk", None, 0).weights(0, 0) for block in blocks)
            assert isinstance(total, Tensor)
            self._mixed[key] = balanced(total)
        return self._mixed[key]

    def _products(self, path: DensePath, kind: str, source: BlockPass) -> Products:
        if _gathers(path, kind):
            assert path.iterations is not None
            return products_of_gathered([(source, kind)], path.iterations, self._near(path))
        return products_of(source, kind, self._near(path), self.prefix)

    def _near(self, path: DensePath) -> Tensor | None:
        """Give the bonus of near tokens, `(token, token)`."""
        if not path.gaussian:
            return None
        near = F.pad(nearness(self.grid, path.gaussian), (self.prefix, 0, self.prefix, 0))
        return near.to(self.streams.blocks[self.depth - 1].entering)

    def _prefix(self, path: DensePath) -> tuple[int, int]:
        """Count the tokens before the positions, and those that are not attended to."""
        return self.prefix, 0 if path.class_key else self.prefix

    def _sources(self, term: Term, into: BlockPass) -> list[BlockPass]:
        return [self.streams.blocks[number] for number in block_numbers(term.blocks, self.depth)] or [into]


def _gathers(path: DensePath, kind: str) -> bool:
    return path.iterations is not None and kind in SELF


def _of_products(term: Term) -> bool:
    return KINDS[term.kind] == EITHER
