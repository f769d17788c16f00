"""One training of a student: its steps, and all that a stopped one needs to go on to the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.errors import WeightsError
from denseclip_viz.plus.augment import Crop
from denseclip_viz.plus.pseudo_labels import IGNORED, OPEN, Teacher, filled, own_labels
from denseclip_viz.plus.schedules import Schedule
from denseclip_viz.train.loop import Checkpoint, no_checkpoint, read_checkpoint, refuse_others, write_checkpoint
from denseclip_viz.validation import many

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COLUMNS = ("rate", "loss", "confident", "agreement")
"""What is known of each step: its learning rate and loss; of the pixels that are open, the share that got a label; and
of those that the teacher labels, the share that the student names alike, NaN where the teacher was not asked."""
_WATCHED = 50  # steps from one to the next in which the teacher is asked though the student teaches itself


@dataclass(eq=False)
class TrainingRun:
    """A network on its way.

    Attributes:
        network: It, as it is; `wrapped` is it as Fabric calls it.
        wrapped: See there.
        optimizer: Torch's own; `stepped` is it as Fabric steps it.
        stepped: See there.
        fabric: Which device, which precision, which process of how many.
        teacher: Who labels.
        classifier: `(class, D)`, unit vectors, fixed.
        classes: Those without labels, which compete for what is open.
        schedule: How it is trained.
        seed: Of whatever is drawn by chance.
        settings: Everything that decides the weights, as JSON holds it.
        step: Steps done.
        curves: `COLUMNS` of each step.
        unread: Names of images that could not be read.
    """

    network: nn.Module
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    stepped: Any
    fabric: Fabric
    teacher: Teacher
    classifier: Tensor
    classes: tuple[int, ...]
    schedule: Schedule
    seed: int
    settings: dict[str, Any]
    step: int = 0
    curves: list[tuple[float, ...]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def learn(self, crops: Sequence[Crop]) -> None:
        """Do one step.

        Raises:
            WeightsError: A loss that is not finite.
        """
        pixels = torch.stack([crop.pixels for crop in crops]).to(self.fabric.device)
        target = torch.stack([crop.target for crop in crops]).to(self.fabric.device)
        rate, is_led = self.schedule.rate_at(self.step), self.step < self.schedule.led
        is_watched = is_led or self.step % _WATCHED == 0
        given = self.teacher.labels(pixels) if is_watched else None
        with torch.enable_grad(), drawn_by(self.seed, self.step, self.fabric.global_rank, self.fabric.device):
            self.wrapped.train()
            logits = self.logits(self._features(pixels))
            own = own_labels(logits.detach(), self.classes)
            labels = filled(target, given if is_led and given is not None else own)
            loss = mean_loss(logits, labels)
            if not loss.isfinite():
                raise self._diverged(f"a loss of {float(loss.detach())}")
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.stepped.zero_grad()
            self.fabric.backward(loss)
            self.stepped.step()
        self.step += 1
        is_open = target == OPEN
        agreement = share(own == given, is_open & (given != IGNORED)) if given is not None else float("nan")
        self.curves.append((rate, float(loss.detach()), share(labels != IGNORED, is_open), agreement))

    def _features(self, pixels: Tensor) -> Tensor:
        """Run the network.

        Raises:
            WeightsError: One image, of which its batch norm knows no spread.
        """
        try:
            features: Tensor = self.wrapped(pixels.contiguous(memory_format=torch.channels_last))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            got = f"one image a step for {self.schedule.network}, which norms what it pools over the images"
            raise WeightsError(got, expected="two or more on each device", fix="Pass batch=2.") from error
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Compare features `(image, D, h, w)` with the classes' texts: `(image, class, Y, X)`, on the labels' grid."""
        scores = self.schedule.scale * torch.einsum("ndyx,cd->ncyx", features.float(), self.classifier)
        size = [side // self.schedule.grid for side in self.schedule.crop]
        return F.interpolate(scores, size, mode="bilinear", align_corners=False)

    def checkpoint(self, folder: Path) -> None:
        """Keep all that is needed to go on.

        Raises:
            WeightsError: Weights that are not finite; what the folder holds stays.
        """
        weights = self.network.state_dict()
        for name, tensor in weights.items():
            if not tensor.isfinite().all():
                raise self._diverged(f"{name} with NaN or infinite numbers")
        state = {f"network/{name}": tensor for name, tensor in weights.items()}
        for name, parameter in self.network.named_parameters():
            moments = self.optimizer.state.get(parameter, {})
            state |= {f"optimizer/{kind}/{name}": value for kind, value in moments.items() if value is not None}
        curves = torch.tensor(self.curves, dtype=torch.float64).reshape(-1, len(COLUMNS))
        state |= {"curves": curves, "classifier": self.classifier}
        facts = {"step": self.step, "settings": self.settings, "unread": self.unread}
        write_checkpoint(folder, Checkpoint(state, facts))

    def _diverged(self, what: str) -> WeightsError:
        got, rate = f"{what} after {many(self.step, 'step')}", f"{self.schedule.rate:g}"
        fix = f"Pass preset= a schedule with a rate below {rate}, or with a longer warm_up."
        return WeightsError(got, expected="a training that converges", fix=fix)

    def resume(self, folder: Path) -> None:
        """Take over what a folder holds, if it holds anything.

        Raises:
            WeightsError: It is of another training, or none.
        """
        if (checkpoint := read_checkpoint(folder)) is None:
            return
        try:
            refuse_others(folder, checkpoint.facts["settings"], self.settings)
            self.curves = [tuple(row) for row in checkpoint.tensors["curves"].tolist()]
            self.network.load_state_dict(checkpoint.under("network/"))
            # encoded anew they might have other last bits
            self.classifier.copy_(checkpoint.tensors["classifier"])
            self.teacher.vectors = self.classifier[self.teacher.classes]
            parameters = dict(self.network.named_parameters())
            for key, value in checkpoint.under("optimizer/").items():
                kind, _, name = key.partition("/")
                p = parameters[name]  # a moment lies in memory as its parameter does
                value = torch.zeros_like(p).copy_(value) if value.ndim else value.clone()
                self.optimizer.state[p][kind] = value
            self.step, self.unread = checkpoint.facts["step"], checkpoint.facts["unread"]
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise no_checkpoint(folder, str(error)) from error


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Average cross entropy over the labels that there are; 0 where there are none.

    Example:
        >>> float(mean_loss(torch.zeros(1, 2, 1, 1), torch.tensor([[[IGNORED]]])))
        0.0
    """
    count = (labels != IGNORED).sum().clamp(min=1)
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / count


def share(which: Tensor, of: Tensor) -> float:
    """Say of which share something is true; NaN of none.

    Example:
        >>> share(torch.tensor([True, False, True]), torch.tensor([True, True, False]))
        0.5
    """
    count = int(of.sum())
    return int((which & of).sum()) / count if count else float("nan")


@contextmanager
def drawn_by(seed: int, step: int, rank: int, device: torch.device) -> Iterator[None]:
    """Let what a network drops by chance hang on these numbers alone, and leave torch's own chance as it was."""
    gpus = [device] if device.type == "cuda" else []
    number = ((seed * 1_000_003 + step) * 1_009 + rank) % 2**63
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(number)
        if gpus:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(number)
        yield
