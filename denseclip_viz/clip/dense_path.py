"""A recipe for dense features: the switches that published paths differ in."""

from dataclasses import dataclass

from denseclip_viz.errors import LayerError

KINDS = ("qk", "qq", "kk", "vv", "similar")
TWELVE = 12
"""Published block numbers count the blocks of a tower of twelve."""


@dataclass(frozen=True)
class Term:
    """One term of a path's attention: weight · softmax(…), of the block itself or the mean over others.

    Attributes:
        kind: `"qk"`, query · key as the tower itself; `"qq"`, `"kk"`, `"vv"`, every token with its like; `"similar"`,
            the cosines of the patches behind one block: their mean taken off, times 3, negatives left out.
        weight: What it is multiplied by.
        blocks: Numbers, from 1 and of twelve, of the blocks whose attention is averaged; none: the block itself. In a
            tower of L blocks number b is round(b L / 12).

    Example:
        >>> Term("kk", 0.5).blocks
        ()
    """

    kind: str
    weight: float = 1.0
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True)
class DensePath:
    """A recipe for dense features: switches, so that every published variant can be named.

    Attributes:
        name: What figures and provenance call it.
        attention: What a position attends by: nothing, so to itself alone; or a sum of terms, each a `Term` or its
            kind. `("qk",)` is what the tower itself does (plain patch tokens of a ViT, every position as a query of a
            ResNet's pool).
        blocks: How many of the last blocks are summed (class token); a tower of fewer gives all.
        residual: Keep the stream beside the attention (class token; the official MaskCLIP does).
        mlp: Keep the MLP that is added behind the attention (class token, where the official MaskCLIP does; latent
            query).
        gaussian: The width, in positions, of the bonus that near positions get in the logits; 0 for none.
        iterations: Attend by tokens of length 1 with GEM's temperature, gathered so many times before; None for
            products as they are.
        class_key: Attend to the class token, too.
        outliers: Put the mean of their neighbours in the place of patches that lie apart (SC-CLIP, local outlier
            factor) before all else.
        smooth: Numbers, of twelve, of the blocks whose cosines, from 0.4 on, patches are averaged by: before the last
            block, and behind it; none for not at all.
        summed: Numbers, of twelve, of the first and the last block of which the sum goes the same way through the
            last attention, and is added; none for not at all.
        class_token: How much of the class token is added to every patch.
        positional: Add the pool's positional embedding to a position before its value (ResNet; the official code
            does not).
        antialias: Antialias when a positional embedding is resized (open_clip does; the official code does not).
            timm's towers resize their own, always antialiased.

    Raises:
        LayerError: A kind of attention that there is none of, or numbers that cannot be.

    Example:
        >>> DensePath("no MLP", mlp=False).residual
        True
        >>> DensePath("mine", attention=("kk", Term("vv", 0.5)), residual=False, mlp=False, gaussian=3.0).of_blocks
        True
    """

    name: str
    attention: tuple[str | Term, ...] = ()
    blocks: int = 1
    residual: bool = True
    mlp: bool = True
    gaussian: float = 0.0
    iterations: int | None = None
    class_key: bool = True
    outliers: bool = False
    smooth: tuple[int, ...] = ()
    summed: tuple[int, ...] = ()
    class_token: float = 0.0
    positional: bool = False
    antialias: bool = True

    def __post_init__(self) -> None:
        kinds = [term.kind for term in self.terms]
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            got, expected = f"attention by {unknown[0]!r}", f"terms of {', '.join(KINDS)}; () is the value path"
            raise LayerError(got, expected=expected, fix='Pass attention=("kk",), say.')
        inside = [number for term in self.terms if term.kind == "similar" for number in term.blocks or (0,)]
        numbers = [*(number for term in self.terms for number in term.blocks), *inside, *self.smooth, *self.summed]
        afar = self.iterations is not None or any(term.blocks for term in self.terms if term.kind != "similar")
        pairs = len(self.smooth) in (0, 2) and len(self.summed) in (0, 2)
        wrong = {
            "blocks": self.blocks < 1,
            "gaussian": not 0 <= self.gaussian < float("inf"),
            "iterations": self.iterations is not None and self.iterations < 0,
            "block numbers": not pairs or any(not 1 <= number <= TWELVE for number in numbers),
            "changes of the stream": self.of_streams and (self.blocks > 1 or self.residual or self.mlp or afar),
        }
        if any(wrong.values()):
            what = next(name for name, holds in wrong.items() if holds)
            fix = (
                "Numbers of blocks are 1 to 12; outliers, smooth, summed go with residual=False, mlp=False, blocks=1, "
                "and the last block's own attention."
            )
            raise LayerError(f"path {self.name!r} with such {what}", expected="numbers that can be", fix=fix)
        if self.blocks > 1 and (self.mlp or not self.terms):
            got, fix = f"path {self.name!r} over {self.blocks} blocks", "Pass attention=(...) and mlp=False."
            raise LayerError(got, expected="an attention, and no MLP: it stands behind one block", fix=fix)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms of its attention."""
        return tuple(Term(term) if isinstance(term, str) else term for term in self.attention)

    @property
    def of_blocks(self) -> bool:
        """Whether it needs queries, keys and values of transformer blocks."""
        plain = self.terms in ((), (Term("qk"),)) and self.class_key and self.blocks == 1
        return not plain or self.of_streams

    @property
    def of_streams(self) -> bool:
        """Whether the last block attends to another stream than the tower's own."""
        changed = self.outliers or self.smooth or self.summed or self.class_token
        return bool(changed) or any(term.kind == "similar" for term in self.terms)
