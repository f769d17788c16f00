"""Image-caption contrast, from nothing: the bundled models are trained with this and nothing else."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from denseclip_viz.clip.load.bundled import export_compact
from denseclip_viz.clip.load.checkpoints import choose_device
from denseclip_viz.errors import WeightsError, WorkerError
from denseclip_viz.files import atomic_write, make_folder, written
from denseclip_viz.train.batches import Batch, batches, drawn_ahead
from denseclip_viz.train.loop import (
    LOG,
    Checkpoint,
    Optimizer,
    no_checkpoint,
    read_checkpoint,
    refuse_others,
    whole_steps,
    write_checkpoint,
)
from denseclip_viz.train.loss import MEAN, STD, attention_kernel, contrast, encode_sets, mixed_precision, normalized
from denseclip_viz.train.recipes import Recipe, build, fitted, recipe_of
from denseclip_viz.train.retrieval import Retrieval, measure_retrieval
from denseclip_viz.validation import is_number, short

if TYPE_CHECKING:
    from open_clip.model import CLIP

# What tensors or facts of something else lead to.
_FOREIGN = (RuntimeError, LookupError, TypeError, ValueError, AttributeError)
_LARGEST_SCALE = float(np.log(100))


@dataclass(frozen=True)
class Progress:
    """Where a training stands: steps and images done, seconds at work, mean loss since it was last due to report."""

    step: int
    steps: int
    images: int
    size: int
    loss: float
    seconds: float
    retrieval: Retrieval

    def __str__(self) -> str:
        rate = f"{self.images / max(self.seconds, 1e-9):.0f}/s"
        text = f"step {self.step}/{self.steps}  {self.size} px  images {self.images} ({rate})"
        return f"{text}  loss {self.loss:.3f}  {self.retrieval}  {self.seconds / 60:.1f} min"


def train(
    name: str | Recipe,
    folder: str | Path,
    *,
    minutes: float | None = None,
    scenes: int | None = None,
    resume: bool = True,
    every: float = 60.0,
    device: str = "cpu",
    ahead: bool = True,
) -> Progress:
    """Train a bundled model from images and captions; started again, it goes on where it was.

    Args:
        name: "resnet", "vit", "vit-cls" or "tiny", or a recipe.
        folder: Where `state.safetensors` and `log.txt` are kept; they stay as they are until a step is done.
        minutes: Stop after so many minutes of this call; the checkpoint stays.
        scenes: Stop after so many images in all.
        resume: Go on from the folder's checkpoint, by the same recipe; False starts over.
        every: Seconds between two checkpoints; reports come after fixed numbers of steps, so that they come out again,
            and where a call ends.
        device: "cpu", or a GPU such as "cuda".
        ahead: Draw in a process of its own, which imports the script that calls; the weights are the same without.

    Returns:
        The last report, with retrieval among 64 captions of validation scenes.

    Raises:
        ModelNameError: There is no recipe of that name.
        DeviceError: There is no such device here.
        WeightsError: The folder holds a training by another recipe, or none, or a number is none.
        OutputError: The folder cannot be made or written.
        WorkerError: The process that draws ended; in a script that starts it below no `if __name__ == "__main__":`, at
            once.
        KeyboardInterrupt: After the step at hand, which is kept.

    Source: Radford et al. 2021, arXiv 2103.00020, Fig. 3, with several captions an image.

    Example:
        >>> train("tiny", "runs/tiny", scenes=16).images  # doctest: +SKIP
        16
    """
    recipe = name if isinstance(name, Recipe) else recipe_of(name)
    _check_numbers(minutes=minutes, scenes=scenes, every=every)
    where = str(choose_device(device))
    folder = make_folder(folder)
    run = _resumed(recipe, folder, where) if resume else _begin(recipe, None, where)
    until = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    last = recipe.steps if scenes is None else min(_steps_for(recipe, scenes), recipe.steps)
    with drawn_ahead(recipe, run.step) if ahead else nullcontext(batches(recipe, run.step)) as drawn:
        return _go_on(run, drawn, folder, last=last, until=until, every=every)


def export(folder: str | Path, to: str | Path) -> Path:
    """Write what a training has reached so far as a model for `load_compact`, at its native image size.

    Raises:
        WeightsError: The folder has no checkpoint, or a broken one.
        OutputError: The folder to write to cannot be made or written.

    Example:
        >>> export("runs/resnet", "models/resnet")  # doctest: +SKIP
    """
    checkpoint = read_checkpoint(Path(folder))
    if checkpoint is None:
        got = f"There is no training in {folder}"
        raise WeightsError(got, expected="a folder with a checkpoint", fix="Train first.")
    try:
        config = json.loads(checkpoint.facts["recipe"])["config"]
        native = build(Recipe("native", config, ()), config["vision_cfg"]["image_size"]).state_dict()
        state = checkpoint.under("model/")
        state = {name: fitted(state[name], tensor.shape) for name, tensor in native.items()}
    except _FOREIGN as error:
        raise no_checkpoint(Path(folder), str(error)) from error
    preprocess = {"mean": MEAN, "std": STD}
    return export_compact(state, to, config={"model_cfg": config, "preprocess_cfg": preprocess})


@dataclass
class _Run:
    """A training on its way; `losses` are those since its last report after a fixed number of steps."""

    recipe: Recipe
    model: CLIP
    optimizer: Optimizer
    phase: int
    step: int
    images: int
    seconds: float
    device: str
    losses: list[float] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.recipe.phases[self.phase].size

    @property
    def attended(self) -> int:
        """Tokens that attend to each other, about."""
        cells = (self.size // int(self.recipe.config["vision_cfg"].get("patch_size", 32))) ** 2
        return 1 + round(cells * (1 - self.recipe.phases[self.phase].dropped))


def _go_on(run: _Run, drawn: Iterator[Batch], folder: Path, *, last: int, until: float, every: float) -> Progress:
    """Do the steps that are left; at an interrupt, or without a process that draws, those done are written down."""
    first, progress, ended = run.step, None, None
    with whole_steps() as interrupts:

        def is_wanted() -> bool:
            return run.step < last and time.monotonic() < until and not interrupts

        try:
            progress = _steps(run, drawn, folder, is_wanted, every)
        except WorkerError as error:
            ended = error
        if run.step > first:
            write_checkpoint(folder, _checkpoint(run))
    if interrupts:
        raise KeyboardInterrupt  # it ended the process that draws too
    if ended is not None:
        raise ended
    if progress is None or progress.step < run.step:
        progress = _reached(run)
        if run.step > first:
            _log(folder, progress)
    return progress


def _steps(
    run: _Run, drawn: Iterator[Batch], folder: Path, is_wanted: Callable[[], bool], every: float
) -> Progress | None:
    """Step by step, the first of which takes the place of whatever the folder holds beyond it."""
    first, progress, saved = run.step, None, time.monotonic()
    while is_wanted():
        if run.recipe.reports_after(run.step):
            run.losses.clear()
        began = time.monotonic()
        run.losses.append(_step(run, next(drawn)))
        run.seconds += time.monotonic() - began
        if run.step == first + 1:
            write_checkpoint(folder, _checkpoint(run))
            _cut_log(folder, first)
        if run.recipe.reports_after(run.step):
            progress = _reached(run)
            _log(folder, progress)
        if time.monotonic() - saved > every:
            write_checkpoint(folder, _checkpoint(run))
            saved = time.monotonic()
    return progress


def _reached(run: _Run) -> Progress:
    retrieval = measure_retrieval(run.model, run.size, groups=run.recipe.groups, device=run.device)
    loss = float(np.mean(run.losses)) if run.losses else float("nan")
    return Progress(run.step, run.recipe.steps, run.images, run.size, loss, run.seconds, retrieval)


def _log(folder: Path, progress: Progress) -> None:
    with written(folder / LOG), open(folder / LOG, "a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%H:%M:%S')}  {progress}\n")


def _cut_log(folder: Path, step: int) -> None:
    """Leave out reports of later steps, which come again: the training was killed, or is started over."""
    log = folder / LOG
    with written(log):
        lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
    steps = [int(match[1]) if (match := re.search(rb"  step (\d+)/", line)) else 0 for line in lines]
    with atomic_write(log, [".txt"], force=True) as part:
        part.write_bytes(b"".join(line for line, at in zip(lines, steps, strict=True) if 0 < at <= step))


def _step(run: _Run, batch: Batch) -> float:
    phase, rate = run.recipe.at(run.step)
    if phase != run.phase:
        _enter(run, phase)
    run.model.train()
    images = normalized(batch.images, run.device)
    tokens = torch.from_numpy(batch.tokens).to(run.device)
    with torch.random.fork_rng(devices=[]), mixed_precision(run.device):
        torch.default_generator.manual_seed(run.recipe.seed * run.recipe.steps + run.step)  # for dropped patches
        with attention_kernel(run.attended, run.device):
            embeddings = run.model.get_submodule("visual")(images)
        texts = encode_sets(run.model, tokens)
    loss = contrast(embeddings.float(), texts.float(), tokens, run.model.logit_scale)
    loss.backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step(rate)
    with torch.no_grad():
        run.model.logit_scale.clamp_(max=_LARGEST_SCALE)
    run.step += 1
    run.images += len(batch.images)
    return float(loss.detach())


def _check_numbers(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not is_number(value, 0):
            got = f"{name}={short(value)}"
            raise WeightsError(got, expected="a number that is not below 0", fix=f"Pass for example {name}=60.")


def _resumed(recipe: Recipe, folder: Path, device: str) -> _Run:
    """Go on from the folder's checkpoint, or begin where there is none."""
    checkpoint = read_checkpoint(folder)
    try:
        if checkpoint is not None:
            now = {"name": recipe.name, **json.loads(recipe.to_json())}  # the name first: it says most
            refuse_others(folder, json.loads(checkpoint.facts["recipe"]), now)
        return _begin(recipe, checkpoint, device)
    except _FOREIGN as error:
        if checkpoint is None:
            raise
        raise no_checkpoint(folder, str(error)) from error


def _begin(recipe: Recipe, checkpoint: Checkpoint | None, device: str) -> _Run:
    phase = checkpoint.facts["phase"] if checkpoint else 0
    model = _built(recipe, phase, device)
    if checkpoint:
        model.load_state_dict(checkpoint.under("model/"))
    optimizer = Optimizer(model, decay=recipe.decay, muon=recipe.optimizer == "muon")
    if checkpoint is None:
        return _Run(recipe, model, optimizer, phase, 0, 0, 0.0, device)
    optimizer.load(checkpoint.under("optimizer/"))
    facts = checkpoint.facts
    losses = [float(loss) for loss in facts.get("losses", ())]  # older ones lack them
    return _Run(recipe, model, optimizer, phase, facts["step"], facts["images"], facts["seconds"], device, losses)


def _built(recipe: Recipe, phase: int, device: str) -> CLIP:
    model = build(recipe, recipe.phases[phase].size, dropped=recipe.phases[phase].dropped)
    return model.to(device=device, memory_format=torch.channels_last)


def _checkpoint(run: _Run) -> Checkpoint:
    parts = {"model": run.model.state_dict(), "optimizer": run.optimizer.state()}
    tensors = {f"{part}/{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
    names = ("step", "images", "seconds", "phase", "losses")
    facts = {name: getattr(run, name) for name in names}
    return Checkpoint(tensors, {**facts, "recipe": run.recipe.to_json()})


def _enter(run: _Run, phase: int) -> None:
    """Put the same weights into a tower for another phase; position embeddings are interpolated."""
    old, state = run.model.state_dict(), run.optimizer.state()
    run.model = _built(run.recipe, phase, run.device)
    shapes = {name: tensor.shape for name, tensor in run.model.state_dict().items()}
    run.model.load_state_dict({name: fitted(tensor, shapes[name]) for name, tensor in old.items()})
    run.optimizer = Optimizer(run.model, decay=run.recipe.decay, muon=run.optimizer.muon)
    run.optimizer.load(state)
    run.phase = phase


def _steps_for(recipe: Recipe, scenes: int) -> int:
    steps = 0
    for phase in recipe.phases:
        here = min(phase.steps, -(-scenes // phase.batch))
        steps, scenes = steps + here, scenes - here * phase.batch
    return steps
