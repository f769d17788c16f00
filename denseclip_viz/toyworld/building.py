"""A bundled model at any picture size, and its tables of positions from one size to another."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.toyworld.recipes import Recipe
from denseclip_viz.toyworld.tokens import known_ids, later_rows

if TYPE_CHECKING:
    from open_clip.model import CLIP


def build(recipe: Recipe, size: int, *, dropped: float = 0.0) -> CLIP:
    """A CLIP of the recipe at a picture size, with a token table of the known rows only.

    Rows that came later are drawn last, so that all other first weights are what they were without them.

    Args:
        recipe: Names the architecture and the seed of its first weights.
        size: Pixels a side.
        dropped: Share of its patches that a ViT in training drops.

    Example:
        >>> from denseclip_viz.toyworld.recipes import recipe_of
        >>> build(recipe_of("tiny"), 64).get_submodule("visual").image_size
        64
    """
    from open_clip.model import CLIP

    config = copy.deepcopy(recipe.config)
    config["vision_cfg"]["image_size"] = size
    if dropped:
        config["vision_cfg"]["patch_dropout"] = dropped
    config["text_cfg"]["vocab_size"] = len(known_ids()) - len(later_rows())
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        made = CLIP(**config)
        table = made.token_embedding.weight
        drawn = 0.02 * torch.randn(len(later_rows()), table.shape[1])
    made.token_embedding = nn.Embedding.from_pretrained(_with_rows(table.detach(), drawn), freeze=False)
    return made


def _with_rows(table: Tensor, drawn: Tensor) -> Tensor:
    """The table with rows put in where they belong."""
    later = torch.zeros(len(table) + len(drawn), dtype=torch.bool)
    later[list(later_rows())] = True
    full = table.new_empty(len(later), table.shape[1])
    full[~later], full[later] = table, drawn
    return full


def fitted(tensor: Tensor, shape: torch.Size) -> Tensor:
    """A table of positions (1 + side², channel) for a grid of another side; the first row is no position.

    Example:
        >>> fitted(torch.ones(1 + 9, 2), torch.Size([1 + 16, 2])).shape
        torch.Size([17, 2])
    """
    if tensor.shape == shape:
        return tensor
    old, new = (round((length - 1) ** 0.5) for length in (tensor.shape[0], shape[0]))
    grid = tensor[1:].view(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (new, new), mode="bilinear", align_corners=False, antialias=new < old)
    return torch.cat([tensor[:1], grid.permute(0, 2, 3, 1).reshape(new * new, -1)])
