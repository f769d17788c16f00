"""How each bundled model is made: its open_clip configuration and its schedule."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.clip.load.bundled import MODELS, known_ids, later_rows, stored_tensors
from denseclip_viz.clip.load.weights import Drawn
from denseclip_viz.errors import ModelNameError

if TYPE_CHECKING:
    from open_clip.model import CLIP


@dataclass(frozen=True)
class Phase:
    """A part of the schedule at one image size; the learning rate goes in a straight line.

    ``steps`` batches of ``batch`` images; ``chunk`` scenes are drawn at a time and used ``uses`` times. A ViT
    drops a share ``dropped`` of its patches (Li et al., arXiv 2212.00794), which costs less and hurts little.
    ``negated`` of the brief captions say what is not there.
    """

    size: int
    steps: int
    batch: int
    rate: tuple[float, float]
    chunk: int = 2048
    uses: int = 6
    dropped: float = 0.0
    negated: int = 0

    @property
    def scenes(self) -> int:
        """Scenes that are drawn for it."""
        per_chunk = self.chunk // self.batch * self.uses
        return -(-self.steps // per_chunk) * self.chunk


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training, so that the same recipe gives the same weights on one machine.

    An image comes with ``captions`` ordinary captions and ``brief`` ones; of those that begin with an article the
    shares ``framed`` and ``framed_brief`` are put into a template that zero-shot prompts use. ``start`` names a bundled
    model whose weights it begins with, where names and shapes are the same.
    """

    name: str
    config: dict[str, Any]
    phases: tuple[Phase, ...]
    seed: int = 0
    captions: int = 2
    brief: int = 4
    framed: float = 0.1
    framed_brief: float = 0.5
    warm_up: int = 100
    decay: float = 0.05
    optimizer: str = "muon"
    groups: int = 6
    report: int = 100
    first_scene: int = 0
    start: str = ""

    @property
    def steps(self) -> int:
        """Steps in all."""
        return sum(phase.steps for phase in self.phases)

    def at(self, step: int) -> tuple[int, float]:
        """Return the number of the phase and the learning rate of a step."""
        left = step
        for number, phase in enumerate(self.phases):
            if left < phase.steps or number == len(self.phases) - 1:
                low, high = phase.rate
                rate = low + (high - low) * min(left / phase.steps, 1.0)
                return number, rate * min((step + 1) / self.warm_up, 1.0)
            left -= phase.steps
        return 0, 0.0

    def reports_after(self, step: int) -> bool:
        """Tell whether validation is due: after every so many steps, and at the end of a phase."""
        ends = [sum(phase.steps for phase in self.phases[: k + 1]) for k in range(len(self.phases))]
        return step % self.report == 0 or step in ends

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Recipe:
        """Read what `to_json` wrote, parsed."""
        phases = tuple(Phase(**{**phase, "rate": tuple(phase["rate"])}) for phase in facts["phases"])
        return cls(**{**facts, "phases": phases})

    def to_json(self) -> str:
        """Write the recipe as text, for cards and checkpoints; `start` where there is one."""
        return json.dumps(
            {name: value for name, value in asdict(self).items() if name != "start" or value}, sort_keys=True
        )


_PHASES = {
    "resnet": (
        Phase(96, 1000, 128, (2e-3, 2e-3)),
        Phase(128, 700, 128, (2e-3, 1.8e-3)),
        Phase(192, 400, 96, (1.6e-3, 8e-4), chunk=1536, uses=4),
        Phase(256, 200, 64, (8e-4, 0.0), chunk=1024, uses=4),
        Phase(256, 240, 64, (1.2e-3, 0.0), chunk=1024, uses=4),
        Phase(192, 172, 96, (1.4e-3, 1.185e-3), chunk=1536, uses=4),
        Phase(192, 300, 96, (1.185e-3, 1e-3), chunk=1536, uses=4, negated=1),
        Phase(256, 500, 64, (1e-3, 0.0), chunk=1024, uses=4, negated=1),
        Phase(192, 300, 96, (1.2e-3, 1e-3), chunk=1536, uses=4, negated=1),
        Phase(256, 700, 64, (1e-3, 0.0), chunk=1024, uses=4, negated=1),
    ),
    "vit": (
        Phase(168, 1150, 128, (2e-3, 0.0016714286), dropped=0.6),
        Phase(168, 200, 96, (1.2e-3, 0.0), chunk=1536, uses=4),
        Phase(168, 247, 128, (2e-3, 1.905e-3), dropped=0.6),
        Phase(168, 1390, 128, (1.905e-3, 0.0013697021), dropped=0.6, negated=1),
        Phase(168, 400, 96, (1.2e-3, 0.0), chunk=1536, uses=4, negated=1),
        Phase(168, 1400, 128, (1.6e-3, 1.2e-3), dropped=0.6, negated=1),
        Phase(168, 500, 96, (1.2e-3, 0.0), chunk=1536, uses=4, negated=1),
    ),
    "vit-cls": (
        Phase(168, 420, 128, (1.2e-3, 1.0e-3), dropped=0.6, negated=1),
        Phase(168, 260, 96, (9e-4, 0.0), chunk=1536, uses=4, negated=1),
    ),
    "tiny": (
        Phase(64, 6, 8, (1e-3, 1e-3), chunk=16, uses=2),
        Phase(96, 4, 8, (1e-3, 0.0), chunk=16, uses=2, negated=1),
    ),
}
_FURTHER: dict[str, dict[str, Any]] = {"vit-cls": {"start": "vit", "first_scene": 1_000_000}}
"""What begins with another model's weights, on scenes that model has not seen."""
_TINY = {
    "embed_dim": 16,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 96},
    "text_cfg": {"context_length": 48, "width": 16, "heads": 2, "layers": 1},
}


def recipe_of(name: str) -> Recipe:
    """Find the recipe of a bundled model, or "tiny", which takes a second and learns nothing.

    Raises:
        ModelNameError: There is no recipe of that name.

    Example:
        >>> recipe_of("tiny").steps
        10
    """
    if not isinstance(name, str) or name not in _PHASES:
        expected = ", ".join(_PHASES)
        raise ModelNameError(f"There is no bundled model {name!r}", expected=f"one of {expected}", fix="Name one.")
    if name == "tiny":
        return Recipe(name, _TINY, _PHASES[name], warm_up=2, groups=1)
    config = json.loads((MODELS / name / "open_clip_config.json").read_text("utf-8"))["model_cfg"]
    return Recipe(name, config, _PHASES[name], **_FURTHER.get(name, {}))


def build(recipe: Recipe, size: int, *, dropped: float = 0.0) -> CLIP:
    """Build a CLIP of the recipe at an image size, with a token table of the known rows only.

    Rows that came later are drawn last, so that all other first weights are what they were without them. A ViT in
    training drops a share of its patches.

    Example:
        >>> from denseclip_viz.train.recipes import recipe_of
        >>> build(recipe_of("tiny"), 64).get_submodule("visual").image_size
        64
    """
    from open_clip.model import CLIP

    config = copy.deepcopy(recipe.config)
    config["vision_cfg"]["image_size"] = size
    if dropped:
        config["vision_cfg"]["patch_dropout"] = dropped
    config["text_cfg"]["vocab_size"] = len(known_ids()) - len(later_rows())
    with Drawn(recipe.seed):
        model = CLIP(**config)
        table = model.token_embedding.weight
        drawn = 0.02 * torch.randn(len(later_rows()), table.shape[1])
    model.token_embedding = nn.Embedding.from_pretrained(_with_rows(table.detach(), drawn), freeze=False)
    if recipe.start:
        first = model.state_dict()
        known = {name: t for name, t in stored_tensors(recipe.start).items() if name in first}
        model.load_state_dict(first | {name: t.float() for name, t in known.items() if t.shape == first[name].shape})
    return model


def _with_rows(table: Tensor, drawn: Tensor) -> Tensor:
    """Put rows into the table where they belong."""
    later = torch.zeros(len(table) + len(drawn), dtype=torch.bool)
    later[list(later_rows())] = True
    full = table.new_empty(len(later), table.shape[1])
    full[~later], full[later] = table, drawn
    return full


def fitted(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Resize a table of positions (1 + side², channel) to a grid of another side; the first row is no position.

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
