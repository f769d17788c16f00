"""A student: a network, the texts that are its classifier, and where both are from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from denseclip_viz.plus.networks import Built
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace


@dataclass(frozen=True, eq=False, repr=False)
class Student:
    """A network that was taught by a model's dense maps.

    Attributes:
        built: Its network and what that was built of.
        prompts: Its classes with their synonyms, and the templates that they were said in.
        vectors: `(class, D)`, their unit vectors: the classifier, of which nothing is learned.
        teacher: Provenance of the model whose input it reads.
        training: What is known of how it was taught; JSON.
    """

    built: Built
    prompts: Prompts
    vectors: Tensor
    teacher: Mapping[str, str | int]
    training: Mapping[str, Any] = field(default_factory=dict)

    def trace(self, trace: Trace) -> Trace:
        """Take the network's features in place of a trace's own."""
        raise NotImplementedError

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the student into a new folder."""
        raise NotImplementedError
