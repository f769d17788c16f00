"""Networks of students: from a tower's own input `(image, 3, H, W)` to features `(image, D, h, w)` in text space."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from denseclip_viz.clip.towers import Tower


@dataclass(frozen=True)
class Built:
    """A network, and what it was built of.

    Attributes:
        network: From `(image, 3, H, W)` to `(image, D, ceil(H / stride), ceil(W / stride))`.
        facts: All that `rebuild` needs to build its like without weights, and where they are from; JSON.
    """

    network: nn.Module
    facts: Mapping[str, Any]


def build(
    name: str,
    dimension: int,
    *,
    teacher: Tower | None = None,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Built:
    """Build a network by its name."""
    raise NotImplementedError


def rebuild(facts: Mapping[str, Any]) -> nn.Module:
    """Build the like of a network by what was kept of it; its weights are to be filled in."""
    raise NotImplementedError
