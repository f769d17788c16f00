"""A recipe for dense features: the switches that published paths differ in."""

from dataclasses import dataclass, field, replace

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from denseclip_viz.errors import LayerError

TWELVE = 12
"""Published block numbers count the blocks of a tower of twelve."""
OWN, OTHERS, EITHER, NONE = "its own block", "named blocks", "its own block or named ones", "no block"
KINDS = {
    "qk": EITHER,
    "qq": EITHER,
    "kk": EITHER,
    "vv": EITHER,
    "aligned": EITHER,
    "aligned-in-five-steps": EITHER,
    "similar": OTHERS,
    "balanced": OTHERS,
    "spectral": OWN,
    "spectral-as-released": OWN,
    "features": NONE,
    "regions": NONE,
    "regions-without-global": NONE,
    "attention": NONE,
}
"""The kinds of attention, and the blocks that each is of."""
SELF = {"qq", "kk", "vv"}
"""Every token with its like."""
SPECTRAL = {"spectral", "spectral-as-released"}
"""By another model's graph of the image."""
GIVEN = [kind for kind, blocks in KINDS.items() if kind in SPECTRAL or blocks == NONE]
"""By what somebody gives to the path."""
_ACTS_ON = {
    "gaussian": SELF | SPECTRAL,
    "iterations": SELF,
    "class_key": {kind for kind, blocks in KINDS.items() if blocks == EITHER},
    "heads": set(KINDS),
}
OUTLIERS = ("", "density", "class")


@dataclass(frozen=True)
class Term:
    """One term of a path's attention: weight · softmax(…), of the block itself or the mean over others.

    Attributes:
        kind: `"qk"`, query · key as the tower itself; `"qq"`, `"kk"`, `"vv"`, every token with its like; `"aligned"`,
            query · key turned to lie over it by the nearest rotation, and 0.08 of centred key · key (PEARL);
            `"aligned-in-five-steps"`, that rotation as far as five Newton–Schulz steps come, as the released code has
            it; `"similar"`, the cosines of the patches behind one block: their mean taken off, times 3, negatives left
            out; `"balanced"`, the sum of the tower's own attention in several blocks, its columns and rows divided by
            their sums, made symmetric, the mean over queries taken off, negatives left out, rows divided by their sums
            (CLIPer); `"features"`, the cosines of features given to the path, 1.2 of their mean taken off, times 3,
            negatives left out (ProxyCLIP); `"spectral"`, key · key and the graph of features given to the path, head by
            head (CASS), `"spectral-as-released"` as its code has it; `"regions"`, evenly over its own of the regions
            given to the path, `"regions-without-global"` without patches that are as like what is outside
            (TextRegion); `"attention"`, attention given to the path.
        weight: What it is multiplied by.
        blocks: Numbers, from 1 and of twelve, of the blocks whose attention is averaged (summed, of `"balanced"`);
            none: the block itself. In a tower of L blocks number b is round(b L / 12).

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
        gaussian: The width, in positions, of the bonus that near positions get in the logits of `"qq"`, `"kk"`,
            `"vv"` and both `"spectral"`; 0 for none.
        iterations: In `"qq"`, `"kk"`, `"vv"` attend by tokens of length 1 with GEM's temperature, gathered so many
            times before; None for products as they are.
        class_key: Attend to the class token, too.
        heads: How many heads, those of the lowest entropy, attend, each for the channels of all, over the number of
            heads; what they gather by keys is added to a stream whose patches are compared (DIH-CLIP). 0: each for
            its own.
        outliers: Put the mean of their neighbours in the place of patches that stand out before all else: `"density"`,
            those that lie apart (SC-CLIP, local outlier factor); `"class"`, at most ten that the class token attends
            to more than they to themselves (SFP).
        smooth: Numbers, of twelve, of the blocks whose cosines, from 0.4 on, patches are averaged by: before the last
            block, and behind it; none for not at all.
        summed: Numbers, of twelve, of the first and the last block of which the sum goes the same way through the
            last attention, and is added; none for not at all.
        summed_attention: What positions of that sum attend by, where it is not `attention`.
        class_token: How much of the class token is added to every patch.
        late: Send what the attention of every block reads through the last one, too, and average the features of
            length 1 of all blocks. CLIPer averages class probabilities, for which a path has no prompts; of cosines
            the mean of the features gives the mean.
        given: Of the same image: features `(y, x, C)` by another model, for `"features"`, or its keys, the channels of
            all heads in a row, for both `"spectral"`; masks `(region, y, x)`, for both `"regions"`; all are resized to
            the grid. Or `(y, x, y, x)` attention of positions, with an axis of heads in front if there are several,
            for `"attention"`.
        positional: Add the pool's positional embedding to a position before its value (ResNet; the official code
            does not).
        antialias: Antialias when a positional embedding is resized (open_clip does; the official code does not).
            timm's towers resize their own, always antialiased.

    Raises:
        LayerError: A kind of attention that there is none of, numbers that cannot be, or a switch that would act on
            nothing.

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
    heads: int = 0
    outliers: str = ""
    smooth: tuple[int, ...] = ()
    summed: tuple[int, ...] = ()
    summed_attention: tuple[str | Term, ...] = ()
    class_token: float = 0.0
    late: bool = False
    given: Tensor | None = field(default=None, compare=False, repr=False)
    positional: bool = False
    antialias: bool = True

    def __post_init__(self) -> None:
        every = (*self.terms, *_terms(self.summed_attention))
        if unknown := [term.kind for term in every if term.kind not in KINDS]:
            got, expected = f"attention by {unknown[0]!r}", f"terms of {', '.join(KINDS)}; () is the value path"
            raise LayerError(got, expected=expected, fix='Pass attention=("kk",), say.')
        for term in every:
            if KINDS[term.kind] in ((NONE, OWN) if term.blocks else (OTHERS,)):
                got, expected = f"{term} in path {self.name!r}", f"a term of {KINDS[term.kind]}"
                fix = "Leave blocks out." if term.blocks else f"Term({term.kind!r}, blocks=(9,)) names block 9, say."
                raise LayerError(got, expected=expected, fix=fix)
        self._refuse_numbers(every)
        self._refuse_idle({term.kind for term in every})
        if self.blocks > 1 and (self.mlp or not self.terms):
            got, fix = f"path {self.name!r} over {self.blocks} blocks", "Pass attention=(...) and mlp=False."
            raise LayerError(got, expected="an attention, and no MLP: it stands behind one block", fix=fix)

    def _refuse_numbers(self, every: tuple[Term, ...]) -> None:
        numbers = [*(number for term in every for number in term.blocks), *self.smooth, *self.summed]
        pairs = len(self.smooth) in (0, 2) and len(self.summed) in (0, 2)
        wrong = {
            "blocks": self.blocks < 1,
            "gaussian": not 0 <= self.gaussian < float("inf"),
            "iterations": self.iterations is not None and self.iterations < 0,
            "heads": self.heads < 0,
            "outliers": self.outliers not in OUTLIERS,
            "block numbers": not pairs or any(not 1 <= number <= TWELVE for number in numbers),
            "changes of the stream": self.of_streams and (self.blocks > 1 or self.residual or self.mlp),
            "late fusion": self.late and bool(self.outliers or self.smooth or self.summed),
        }
        if any(wrong.values()):
            what = next(name for name, holds in wrong.items() if holds)
            fix = (
                "Numbers of blocks are 1 to 12; outliers, smooth, summed, class_token, late go with residual=False, "
                "mlp=False, blocks=1; outliers is 'density' or 'class'; late goes without outliers, smooth, summed."
            )
            raise LayerError(f"path {self.name!r} with such {what}", expected="numbers that can be", fix=fix)

    def _refuse_idle(self, kinds: set[str]) -> None:
        """Refuse a switch that would be taken no notice of."""
        plain = DensePath.__dataclass_fields__
        for switch, takes in _ACTS_ON.items():
            if getattr(self, switch) != plain[switch].default and not kinds & takes:
                got, expected = f"path {self.name!r} with {switch}, and nothing that it acts on", ", ".join(takes)
                fix = f"Leave {switch} out, or give attention=(...) a term that it acts on."
                raise LayerError(got, expected=f"a term of {expected}", fix=fix)
        if self.summed_attention and not self.summed:
            got, fix = f"path {self.name!r} with summed_attention, and no sum", "Pass summed=(4, 10), say."
            raise LayerError(got, expected="the blocks that are summed", fix=fix)
        if self.given is not None and not self.of_given:
            got, fix = f"path {self.name!r} with something given, and no use for it", 'Pass attention=("features",).'
            raise LayerError(got, expected=f"a term of {', '.join(GIVEN)}", fix=fix)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms of its attention."""
        return _terms(self.attention)

    @property
    def summed_terms(self) -> tuple[Term, ...]:
        """The terms that positions of the sum of blocks attend by."""
        return _terms(self.summed_attention) or self.terms

    @property
    def of_blocks(self) -> bool:
        """Whether it needs queries, keys and values of transformer blocks."""
        alone = self.terms in ((), (Term("qk"),)) or all(KINDS[term.kind] == NONE for term in self.terms)
        return not (alone and self.class_key and self.blocks == 1 and not self.heads) or self.of_streams

    @property
    def of_one_layer(self) -> bool:
        """Whether it needs them of the layer that pools alone, so that any layer with all three gives it."""
        own = all(KINDS[term.kind] != OTHERS and not term.blocks for term in self.terms)
        return self.of_blocks and own and self.blocks == 1 and not self.of_streams

    @property
    def cut(self) -> bool:
        """Whether it leaves out something that a tower adds to its own attention."""
        return self.terms == (Term("qk"),) and not (self.residual and self.mlp)

    @property
    def of_streams(self) -> bool:
        """Whether the last block attends to another stream than the tower's own."""
        return bool(self.outliers or self.smooth or self.summed or self.class_token or self.late)

    @property
    def of_given(self) -> bool:
        """Whether it attends by what somebody gives to it."""
        return any(term.kind in GIVEN for term in (*self.terms, *self.summed_terms))

    def with_given(self, given: ArrayLike | Tensor) -> "DensePath":
        """Give it features `(y, x, C)` of the image by another model, masks of regions, or attention.

        Example:
            >>> DensePath("mine", ("features",), residual=False, mlp=False).with_given(torch.rand(4, 4, 8)).given.shape
            torch.Size([4, 4, 8])
        """
        return replace(self, given=torch.as_tensor(given).detach().cpu())


def _terms(attention: tuple[str | Term, ...]) -> tuple[Term, ...]:
    return tuple(Term(term) if isinstance(term, str) else term for term in attention)
