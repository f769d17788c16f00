"""Weights files: what they hold, what is wrong with them, and putting them into a model."""

import hashlib
import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from denseclip_viz.clip.load.file_kinds import read_file, refuse_foreign
from denseclip_viz.clip.load.models import fitting_models
from denseclip_viz.clip.load.source import fetch_again
from denseclip_viz.clip.load.wrappers import unwrap
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.errors import WeightsError, silenced, warn
from denseclip_viz.validation import some

ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
OPENAI_MARKS = frozenset({"input_resolution", "context_length", "vocab_size"})
"""Entries that are no weights, and that only OpenAI's own files have."""

_NOT_WEIGHTS = OPENAI_MARKS | {"text.transformer.embeddings.position_ids"}  # these older versions of transformers keep
_NUMBERS = {
    "logit_scale": "the logarithm of the temperature, one number without which no answer is a share: save it too",
    "logit_bias": "what a sigmoid loss (SigLIP) adds to the logits: weights without it were trained with another",
}
# whatever else a module draws itself with comes down to these; by name, as transformers puts its own in torch's place
_FILLING = frozenset(("normal_", "uniform_", "kaiming_uniform_"))
_SHAPING = frozenset(("erfinv_",))  # timm's and torch's way from an even distribution to a normal one
_MAKING = frozenset((torch.randn, torch.rand, torch.randint, torch.randperm))
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The tensors of a file by name, and what was taken off or left aside to read them."""

    file: Path
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The size of each tensor by name."""
        return {key: tuple(tensor.shape) for key, tensor in self.tensors.items()}


def local_file(path: str | os.PathLike[str]) -> Path:
    """Give the path of a checkpoint that is there, holds something, and has an ending that says how to read it."""
    file = Path(path).expanduser()
    expected = f"a checkpoint ending in {', '.join(ENDINGS)}"
    if not os.path.isfile(file):
        what = "is a folder" if os.path.isdir(file) else "does not exist"
        raise WeightsError(f"The checkpoint {file} {what}", expected=expected, fix="Check the path.")
    if file.suffix.lower() not in ENDINGS:
        refuse_foreign(file)
        got = f"The checkpoint {file.name} ends in {file.suffix or 'nothing'}"
        raise WeightsError(got, expected=expected, fix="Save the state dict as .safetensors.")
    if not file.stat().st_size:
        raise WeightsError(f"{file.name} is empty (0 bytes)", expected="weights", fix=fetch_again(file))
    return file


def read_checkpoint(file: Path) -> Checkpoint:
    """Read the tensors of a checkpoint by name, without its wrapper and the prefix that they have.

    Nothing in the file is run (`file_kinds.read_file`).

    Raises:
        WeightsError: The file is broken, of another kind, holds no named tensors, or two models.
    """
    return Checkpoint(file, *unwrap(read_file(file), file))


class Drawn(TorchFunctionMode):
    """Within it, in this thread, what is drawn comes from a seed; torch's own chance, which is every thread's, stays.

    Args:
        seed: Of the numbers: those that torch would give after `torch.manual_seed`.
        filled: Whether tensors are filled at all; where every one then comes from a file, they need not be, and that
            is nearly all of the time that building takes.
    """

    def __init__(self, seed: int = 0, *, filled: bool = True) -> None:
        super().__init__()
        self._chance, self._filled = torch.Generator().manual_seed(seed), filled

    def __torch_function__(
        self,
        call: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Give a tensor back as it came, or draw it by this seed."""
        given = kwargs or {}
        name = getattr(call, "__name__", "")
        if name in _FILLING or name in _SHAPING:
            tensor = args[0] if args else given["tensor"]
            if not self._filled:
                return tensor
        if name in _FILLING:
            return call(*args, **self._by(tensor.device, given))
        if call in _MAKING:
            return call(*args, **self._by(torch.device(given.get("device") or torch.get_default_device()), given))
        return call(*args, **given)

    def _by(self, device: torch.device, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say by whose chance; on another device torch knows none but its own."""
        return {**given, "generator": given.get("generator") or self._chance} if device.type == "cpu" else given


def fill(clip: nn.Module, checkpoint: Checkpoint, *, name: str) -> str:
    """Put a checkpoint into a new model of open_clip: all tensors or none.

    Returns:
        What was changed on the way ("positional embedding resized …"), or "".

    Raises:
        WeightsError: Of another architecture: the message names keys, and models that would fit.

    Warns:
        UserWarning: The positional embedding had another length and was resized.
    """
    mine = {key: tuple(tensor.shape) for key, tensor in clip.state_dict().items()}
    try:
        with memory_guard("the size of the model"), silenced():
            state = _converted(clip, checkpoint.tensors, mine)
            _refuse_whole_numbers(clip, state, checkpoint.file)
            keys = clip.load_state_dict(state, strict=False)
    except (RuntimeError, LookupError, AttributeError, TypeError, ValueError, AssertionError) as error:
        raise misfit(checkpoint, name, mine) from error
    if keys.missing_keys or keys.unexpected_keys:
        raise misfit(checkpoint, name, mine, keys.missing_keys, keys.unexpected_keys)
    return _resized(mine, checkpoint, name)


def _refuse_whole_numbers(clip: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    """Refuse what was quantised: without their scales its numbers are no weights."""
    own = clip.state_dict()
    whole = [key for key in state if key in own and own[key].is_floating_point() and not state[key].is_floating_point()]
    if whole:
        kind = str(state[whole[0]].dtype).removeprefix("torch.")
        got, fix = f"{file.name} holds {kind} in {some(whole)}", "Save it as it was before it was quantised."
        raise WeightsError(got, expected="floating-point numbers", fix=fix)


def require_finite(clip: nn.Module, file: Path | None) -> None:
    """Refuse weights that are no numbers: every answer would be none, and some would not show it.

    The sum of a tensor tells, in one pass; only where it is not finite is every number looked at. Without a file the
    weights are those of a model that was in memory.

    Raises:
        WeightsError: An entry holds nan or infinity, or the temperature's exponential is infinite.
    """
    state = clip.state_dict()
    wrong = [key for key, tensor in state.items() if tensor.is_floating_point() and not _is_finite(tensor)]
    if not wrong and not bool(clip.get_parameter("logit_scale").double().exp().isfinite().all()):
        wrong = ["logit_scale (the logarithm of the temperature)"]
    if wrong:
        kind = str(state[next(iter(state))].dtype).removeprefix("torch.")
        got = f"{file.name if file else 'The model in memory'} holds nan or infinity, as {kind}, in {some(wrong)}"
        fix = fetch_again(file) if file else "Check how it was trained."
        raise WeightsError(got, expected="numbers", fix=fix)


def hash_start(*files: Path) -> str:
    """Give the first 16 hexadecimal digits of the SHA-256 of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:16]


def says_random(file: Path) -> bool:
    """Say whether a safetensors file says of itself, in its header, that its weights are random.

    Saved with `save_file(tensors, file, metadata={"weights": "random"})`: then figures and tables say so too.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            return (opened.metadata() or {}).get("weights") == "random"
    except SafetensorError:
        return False


def _is_finite(tensor: Tensor) -> bool:
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _converted(clip: nn.Module, tensors: Mapping[str, Tensor], mine: Shapes) -> dict[str, Tensor]:
    """Bring names and shapes of older and foreign files to the model's, as `open_clip.load_checkpoint` does."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    state = {key: tensor for key, tensor in tensors.items() if key in mine or key not in _NOT_WEIGHTS}
    state = convert_state_dict(clip, state)
    if "positional_embedding" in state and "positional_embedding" not in mine:
        state = convert_to_custom_text_state_dict(state)
    for key in ("logit_scale", "logit_bias"):  # a number, or a list of one
        if key in state and state[key].numel() == math.prod(mine.get(key, (0,))):
            state[key] = state[key].reshape(mine[key])
    resize_pos_embed(state, clip)
    resize_text_pos_embed(state, clip)
    return dict(state)


def misfit(
    checkpoint: Checkpoint, name: str, mine: Shapes, missing: Collection[str] = (), unexpected: Collection[str] = ()
) -> WeightsError:
    """Make the error for a checkpoint of another architecture: its keys, and the models that it would fit.

    `mine` are the model's shapes; without keys, they are those that one has and the other has not.
    """
    shapes, fits = checkpoint.shapes, fitting_models(checkpoint.shapes)
    if not missing and not unexpected:
        missing, unexpected = mine.keys() - shapes, shapes.keys() - mine - _NOT_WEIGHTS
    other = [
        f"{key} {shapes[key]} instead of {mine[key]}" for key in shapes if mine.get(key, shapes[key]) != shapes[key]
    ]
    parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", other))
    differences = "; ".join(f"{what}: {some(keys)}" for what, keys in parts if keys)
    fits = [model for model in fits if model != name]
    fix = f"Its tensors have the sizes of {some(fits)}: pass that name." if fits else "Name the model it was made for."
    if not unexpected and not other and missing and set(missing) <= _NUMBERS.keys():
        fix = " ".join(f"{key} is {_NUMBERS[key]}." for key in sorted(missing))
    got = f"{checkpoint.file.name} does not fit {name} ({differences})"
    return WeightsError(got, expected=f"the weights of {name}", fix=fix)


def _resized(mine: Shapes, checkpoint: Checkpoint, name: str) -> str:
    """Warn of tables that open_clip resizes without a word: the model is then not the one that was trained."""
    tables = {key: shape for key, shape in checkpoint.shapes.items() if key.endswith("positional_embedding")}
    changed = {key: shape for key, shape in tables.items() if mine.get(key, shape) != shape}
    notes = [f"{key} resized from {shape[0]} to {mine[key][0]} rows" for key, shape in changed.items()]
    if notes:
        message = f"{checkpoint.file.name} was made for another input size than {name}: {', '.join(notes)}."
        warn(message)
    return ", ".join(notes)
