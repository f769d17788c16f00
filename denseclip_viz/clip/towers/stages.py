"""A tower's body, and its value path, as parts of a network of its own that may learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from denseclip_viz.clip.towers.attention_pool import STAGES, AttentionPoolTower
from denseclip_viz.clip.towers.tower import Tower
from denseclip_viz.errors import UnsupportedTowerError


class Stages(nn.Module):
    """The convolutions of a `ModifiedResNet`; the statistics of its norms stay what they are, also while it learns.

    Args:
        blocks: How many there are in each stage.
        width: Channels of the stem.

    Attributes:
        channels: Those of the input, then of the stem and each stage, which halve the grid each.

    Example:
        >>> import torch
        >>> [level.shape[1] for level in Stages([1, 1, 1, 1], 8)(torch.zeros(1, 3, 64, 64))]
        [3, 8, 32, 64, 128, 256]
    """

    def __init__(self, blocks: Sequence[int], width: int) -> None:
        from open_clip.modified_resnet import ModifiedResNet

        super().__init__()
        self.visual = ModifiedResNet(list(blocks), output_dim=1, heads=1, image_size=32, width=width)
        self.visual.attnpool = nn.Identity()
        self.channels = [3, width, *(width * 4 * 2**stage for stage in range(4))]
        self.train()

    def train(self, mode: bool = True) -> Stages:
        """Leave norms in eval mode: a few crops would give worse statistics than those that CLIP was trained with."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.training = False
        return self

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Give the input itself, what the stem sees before it is halved once more, and each stage."""
        visual: Any = self.visual
        x, levels = pixels, [pixels]
        for at in "123":
            x = getattr(visual, f"act{at}")(getattr(visual, f"bn{at}")(getattr(visual, f"conv{at}")(x)))
        levels.append(x)
        x = visual.avgpool(x)
        for stage in STAGES:
            x = getattr(visual, stage)(x)
            levels.append(x)
        return levels


class ValuePath(nn.Module):
    """The pool's value and output projections at every position: dense features in text space.

    Source: DenseCLIP (arXiv 2112.01071v1) section 3.

    Example:
        >>> import torch
        >>> ValuePath(8, 4)(torch.zeros(1, 8, 2, 3)).shape
        torch.Size([1, 4, 2, 3])
    """

    def __init__(self, channels: int, dimension: int) -> None:
        super().__init__()
        self.v_proj, self.c_proj = nn.Linear(channels, channels), nn.Linear(channels, dimension)

    def forward(self, last: Tensor) -> Tensor:
        """Project `(image, C, y, x)` to `(image, D, y, x)`."""
        dense: Tensor = self.c_proj(self.v_proj(last.movedim(1, -1))).movedim(-1, 1)
        return dense


def structure_of(tower: Tower) -> dict[str, Any]:
    """Say how large the `Stages` of a tower are.

    Raises:
        UnsupportedTowerError: a tower without stages that are read here.
    """
    if not isinstance(tower, AttentionPoolTower):
        got, fix = f"a copy of a tower with {tower.family}", "Choose another network, such as 'smp:FPN:resnet18'."
        raise UnsupportedTowerError(got, expected="a ResNet with CLIP's attention pool", fix=fix)
    visual: Any = tower.visual
    return {"blocks": [len(getattr(visual, stage)) for stage in STAGES], "width": visual.conv3.out_channels}


def value_weights(tower: Tower) -> Mapping[str, Tensor]:
    """Copy the weights of a tower's `ValuePath`."""
    pool = tower.visual.get_submodule("attnpool").state_dict()
    return {name: value.detach().clone() for name, value in pool.items() if name.startswith(("v_proj.", "c_proj."))}


def body_weights(tower: Tower) -> Mapping[str, Tensor]:
    """Copy the weights and statistics of a tower's `Stages`."""
    state = tower.visual.state_dict()
    return {name: value.detach().clone() for name, value in state.items() if not name.startswith("attnpool.")}
