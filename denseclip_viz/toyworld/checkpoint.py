"""Checkpoints of a training: one safetensors file, written beside and renamed, so that a kill never breaks it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

STATE = "state.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and what is known about them: step, scenes, seconds, recipe."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replaces the checkpoint of a folder in one rename.

    Example:
        >>> write_checkpoint(Path("runs/resnet"), Checkpoint({}, {"step": 0}))  # doctest: +SKIP
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{STATE}.{os.getpid()}"
    tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
    save_file(tensors, beside, metadata={"facts": json.dumps(checkpoint.facts, sort_keys=True)})
    with open(beside, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(beside, folder / STATE)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint of a folder, or None where there is none yet.

    Example:
        >>> read_checkpoint(Path("no/such/folder")) is None
        True
    """
    file = folder / STATE
    if not file.is_file():
        return None
    with safe_open(file, framework="pt") as opened:
        facts = json.loads((opened.metadata() or {})["facts"])
        return Checkpoint({name: opened.get_tensor(name) for name in opened.keys()}, facts)
