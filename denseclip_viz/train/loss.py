"""The loss that the bundled models are trained with, and what goes into it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from open_clip.model import CLIP

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_SHORT = 100


def contrast(images: Tensor, texts: Tensor, tokens: Tensor, scale: Tensor) -> Tensor:
    """Compute CLIP's symmetric loss, where every image has several captions.

    An image's other captions, and texts that are the same as its own, are not taken as wrong answers.

    Args:
        images: (image, channel) embeddings.
        texts: (set, image, channel) embeddings of captions.
        tokens: (set, image, token) what the captions are.
        scale: The logarithm of the factor on cosines.

    Example:
        >>> one = torch.eye(3)
        >>> tokens = torch.arange(3)[None, :, None]
        >>> float(contrast(one, one[None], tokens, torch.tensor(5.0))) < 1e-3
        True
    """
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).flatten(0, 1).T
    logits = (scale.exp() * cosines).view(len(images), *texts.shape[:2])
    same = _same(tokens)
    target = torch.arange(len(images), device=images.device)
    losses = []
    for mine in range(len(texts)):
        dropped = same[mine].clone()
        dropped[target, mine, target] = False
        rows = logits.masked_fill(dropped, float("-inf")).flatten(1)
        losses.append(F.cross_entropy(rows, mine * len(images) + target))
        columns = logits[:, mine].masked_fill(dropped[:, mine].T, float("-inf")).T
        losses.append(F.cross_entropy(columns, target))
    return torch.stack(losses).mean()


def _same(tokens: Tensor) -> Tensor:
    """Tell whether a caption says what an image's own says, or is of that image: (set, image, set, image)."""
    sets, count = tokens.shape[:2]
    flat = tokens.flatten(0, 1)
    _, group = torch.unique(flat, dim=0, return_inverse=True)
    same = (group[:, None] == group[None]).view(sets, count, sets, count)
    own = torch.eye(count, dtype=torch.bool, device=tokens.device)
    either: Tensor = same | own[None, :, None, :]
    return either


def encode_tokens(model: CLIP, tokens: Tensor) -> Tensor:
    """Run CLIP's text encoder on rows only as long as the longest text: the causal mask makes it the same."""
    long = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:long]
    x = model.transformer(x, attn_mask=model.attn_mask[:long, :long])
    x = model.ln_final(x)[torch.arange(len(x), device=x.device), tokens.argmax(-1)]
    projected: Tensor = x @ model.text_projection
    return projected


def encode_sets(model: CLIP, tokens: Tensor, *, parts: int = 4) -> Tensor:
    """Run `encode_tokens` for (set, image, token): each text once, the short ones apart from the long ones."""
    rows, place = torch.unique(tokens.flatten(0, 1), dim=0, return_inverse=True)
    lengths = rows.argmax(-1) + 1
    order = lengths.argsort(stable=True)
    encoded = []
    for part in order.tensor_split(min(parts, len(order))):
        with attention_kernel(rows.shape[-1], tokens.device.type):
            encoded.append(encode_tokens(model, rows[part, : int(lengths[part].max())]))
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    every: Tensor = torch.cat(encoded)[back][place]
    return every.view(*tokens.shape[:2], -1)


def normalized(images: NDArray[np.uint8], device: str = "cpu") -> Tensor:
    """Turn (image, row, column, rgb) uint8 into what the tower takes, channels last in memory."""
    x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return x.sub_(mean).div_(std)


def mixed_precision(device: str) -> torch.autocast:
    """Compute products in bfloat16 where a device has them; a CPU without AVX-512 would take ten times as long."""
    return torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=has_bfloat16(device))


def has_bfloat16(device: str) -> bool:
    """Tell whether products in bfloat16 are no slower than others.

    Example:
        >>> has_bfloat16("cuda:1")
        True
    """
    return not device.startswith("cpu") or torch.backends.cpu.get_cpu_capability() == "AVX512"


def attention_kernel(tokens: int, device: str) -> AbstractContextManager[None]:
    """Choose the kernel: on a CPU fused attention is slower than plain matrices for short rows, above all backwards."""
    if device == "cpu" and tokens <= _SHORT:
        kernel: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
        return kernel
    return nullcontext()
