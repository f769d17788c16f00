"""The query that pools, of one pass, with what stands behind it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from denseclip_viz.clip.towers.linearize import Step, apply


@dataclass(frozen=True, eq=False)
class PoolRow:
    """The one query that pools, of one pass. A plain mean is one head that looks everywhere alike.

        z = entering + out(Σ_j A_j v_j),   z += mlp(z),   e = head(z)

    With `Wanted.gradients` weights and values hang on `reads`, for gradients.

    Attributes:
        reads: `(image, token, C)`, what the pool reads; positions are the last tokens, here as in the other parts.
        normed: The same behind a norm of the pool's own, where it has one.
        weights: `(image, head, token)`, A.
        values: `(image, head, token, channel)`, v.
        out: From merged heads to the stream.
        head: From the stream to text space.
        mlp: From the stream to what an MLP adds to it; empty where none stands behind the pool.
        entering: `(image, 1, C)`, the stream beside the pool; None where none is.
        look: Gives the query `(image, head, channel)` and keys `(image, head, token, channel)`; None for a mean.
    """

    reads: Tensor
    normed: Tensor
    weights: Tensor
    values: Tensor
    out: tuple[Step, ...] = ()
    head: tuple[Step, ...] = ()
    mlp: tuple[Step, ...] = ()
    entering: Tensor | None = None
    look: Callable[[], tuple[Tensor, Tensor]] | None = None

    def heads(self) -> Tensor:
        """Answer the query: merged heads, `(image, 1, C)`."""
        return (self.weights[:, :, None] @ self.values).transpose(1, 2).flatten(2)

    def stream(self, heads: Tensor) -> Tensor:
        """Add what its heads answer to the stream: z before the MLP, `(image, 1, C)`."""
        added = apply(self.out, heads)
        return added if self.entering is None else self.entering + added

    def embedding(self, heads: Tensor) -> Tensor:
        """Send heads through what stands behind them: `(image, D)`."""
        stream = self.stream(heads)
        return apply(self.head, stream + apply(self.mlp, stream) if self.mlp else stream)[:, 0]
