"""A model that is in memory already: asked as it is and where it is, never changed and never copied."""

import copy
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from denseclip_viz.clip.load.checkpoints import Loaded, building, describe_model, preprocess_of
from denseclip_viz.clip.load.models import fitting_models
from denseclip_viz.clip.load.pretrained import Weights
from denseclip_viz.clip.load.switches import find_switches
from denseclip_viz.clip.load.tokenizer import clips_own
from denseclip_viz.clip.load.transforms import read_transform
from denseclip_viz.clip.load.weights import OPENAI_MARKS, require_finite
from denseclip_viz.clip.surroundings import check_eval
from denseclip_viz.clip.text.text_towers import context_of
from denseclip_viz.clip.text.tokenize import Tokenizer
from denseclip_viz.errors import DeviceError, ModelNameError, PromptError, warn
from denseclip_viz.geometry import Preprocess
from denseclip_viz.validation import some

_WORDS = 49408  # of CLIP's own vocabulary
_EXPECTED = "a model of open_clip, or OpenAI's CLIP"
_PROBES = ["a photo of a cat.", "Ünder 3 naïve 고양이, don't!"]
_REASONS = {
    "pretrained": "it brings its own weights",
    "device": "it stays where it is",
    "dtype": "it stays in the dtype that it has",
    "preset": "it is never changed",
    "activation": "it is never changed",
    "layer_norm_eps": "it is never changed",
    "cache_dir": "nothing is downloaded for it",
}


def load_in_memory(
    clip: nn.Module,
    *,
    tokenizer: Tokenizer | None = None,
    preprocess: object = None,
    prepare: Mapping[str, Any],
    others: Mapping[str, Any],
) -> Loaded:
    """Take a model of open_clip as it is, or OpenAI's own CLIP through modules of open_clip on the same tensors.

    Training it between two calls is allowed: its hash is that of its weights now, and no text vector outlives them.
    `prepare` are the switches for images, `others` those that would change the model and are refused; all other
    options are those of `denseclip_viz.load`.

    Raises:
        ModelNameError: A model that is not known, or an option that cannot be had of a model in memory.
        LayerError: Some part is in training mode.
        DeviceError: Its parts lie on several devices, on none, or in several dtypes.
        WeightsError: Its weights are not finite.
        PromptError: No tokenizer where only its owner knows it.
        GeometryError: A transform that cannot be followed exactly.

    Warns:
        UserWarning: Nobody says how images are prepared for it.

    Example:
        >>> load_in_memory(nn.Linear(2, 2).eval(), prepare={}, others={})
        Traceback (most recent call last):
        denseclip_viz.errors.ModelNameError: The model in memory is a Linear. Expected a model of open_clip, or ...
    """
    for option, value in others.items():
        if value is not None:
            fix = "Leave it out; what is to be changed, change before."
            raise ModelNameError(f"{option}={value!r} for a model in memory", expected=_REASONS[option], fix=fix)
    _refuse_wrapped(clip)
    device, dtype = _place_of(clip)
    known, name = _as_open_clips(clip)
    check_eval(clip, fix="Call clip.eval() first.")  # of what is no CLIP at all its mode would be the wrong advice
    require_finite(known, None)
    chosen = _tokenizer(known, tokenizer)
    config, origin = _preparation(known, preprocess, is_openais=known is not clip)
    size = getattr(known.get_submodule("visual"), "image_size", None) or config["size"]
    asked = find_switches(None, **prepare).preprocess
    prepared = preprocess_of(config | {"size": size} | asked, None if "resize_mode" in asked else config["before_crop"])
    if not origin:
        _warn_unprepared(prepared)
    provenance = describe_model(known, name, Weights("in memory", None, {}), prepared, dtype, device)
    provenance |= {"weights_hash": "", "random_weights": 0}
    provenance["known_from"] = f"the model itself: activation; {origin or 'a guess'}: preparation"
    provenance["notes"] = "a model in memory, as it is at each call"
    return Loaded(known, chosen, prepared, provenance, live=True)


def _refuse_wrapped(clip: nn.Module) -> None:
    """Refuse what stands around a model, by where the model is: it is not taken out unasked."""
    for name in ("_orig_mod", "module"):
        within = getattr(clip, name, None)
        if isinstance(within, nn.Module) and [part for part, _ in clip.named_children()] == [name]:
            got = f"The model in memory is a {type(clip).__name__} around a {type(within).__name__}"
            raise ModelNameError(got, expected=_EXPECTED, fix=f"Pass the model within: clip.{name}.")


def _place_of(clip: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Give the one device and the one dtype of a model; its temperature and its bias may be more exact."""
    state = clip.state_dict()
    if packed := [key for key, value in state.items() if not isinstance(value, Tensor)]:
        got, fix = f"The model in memory keeps {some(packed)} in a form of their own", "Pass it before it is quantised."
        raise ModelNameError(got, expected="tensors, as open_clip keeps them", fix=fix)
    tensors = [tensor for key, tensor in state.items() if not key.rpartition(".")[2].startswith("logit_")]
    devices = {tensor.device for tensor in tensors}
    dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if len(devices) != 1 or {device.type for device in devices} == {"meta"}:
        got = f"The model in memory lies on {some(map(str, devices)) or 'no device'}"
        raise DeviceError(got, expected="all of it on one device", fix="Move it there first: clip.to(device).")
    if len(dtypes) != 1:
        kinds = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        got, fix = f"The model in memory is in {kinds}", "Make it one of them first: clip.float(), say."
        raise DeviceError(got, expected="one dtype (clip.load mixes two on a GPU)", fix=fix)
    return devices.pop(), dtypes.pop()


def _as_open_clips(clip: nn.Module) -> tuple[nn.Module, str]:
    """Give the model itself where open_clip made it, else modules of open_clip on its tensors; and its name."""
    from open_clip import CLIP, CoCa, CustomTextCLIP

    state = {key: value for key, value in clip.state_dict(keep_vars=True).items() if key not in OPENAI_MARKS}
    fits = fitting_models({key: tuple(value.shape) for key, value in state.items()})
    if isinstance(clip, (CLIP, CoCa, CustomTextCLIP)):
        return clip, fits[0] if len(fits) == 1 else type(clip).__name__
    if len(fits) != 1:
        got = f"The model in memory is a {getattr(clip, 'original_name', type(clip).__name__)}"
        fix = "Pass the model itself, as open_clip.create_model gives it."
        if hasattr(clip, "save_pretrained"):
            fix = "Save it, its tokenizer and its image processor with save_pretrained(FOLDER), and pass the FOLDER."
        raise ModelNameError(got, expected=_EXPECTED, fix=fix)
    return _sharing(fits[0], state, quick=_is_quick(clip)), fits[0]


def _is_quick(clip: nn.Module) -> bool:
    kinds = {getattr(part, "original_name", type(part).__name__) for part in clip.modules()}
    return "QuickGELU" in kinds or OPENAI_MARKS <= clip.state_dict().keys()


def _sharing(name: str, state: Mapping[str, Any], *, quick: bool) -> nn.Module:
    """Build modules of open_clip whose parameters and buffers are those of another model, not copies."""
    import open_clip

    config = copy.deepcopy(open_clip.get_model_config(name)) | {"quick_gelu": quick}
    if config.pop("custom_text", False):
        got, fix = f"The model in memory has the tensors of {name}", "Pass the model that open_clip.create_model gives."
        raise ModelNameError(got, expected=_EXPECTED, fix=fix)
    with building(drawn=False), torch.device("meta"):
        clip: nn.Module = open_clip.CLIP(**config)
    try:
        clip.load_state_dict(state, assign=True)
    except RuntimeError as error:
        got = f"The model in memory has as many parameters as {name}, but others"
        raise ModelNameError(got, expected=_EXPECTED, fix="Save its weights, and load them.") from error
    positions = clip.get_parameter("positional_embedding")
    mask = positions.new_full((len(positions),) * 2, -torch.inf, requires_grad=False).triu_(1)
    clip.register_buffer("attn_mask", mask, persistent=False)
    return clip.eval()


def _tokenizer(clip: nn.Module, given: Tokenizer | None) -> Tokenizer:
    """Take what is given, or CLIP's own for a text tower with its vocabulary; OpenAI's function is the same one."""
    words = [part.num_embeddings for part in clip.modules() if isinstance(part, nn.Embedding)]
    own: Tokenizer = clips_own(context_length=context_of(clip) or 77)
    if given is None:
        if words == [_WORDS]:
            return own
        got = f"The text tower of the model in memory has {' and '.join(map(str, words)) or 'no'} words"
        fix = "Pass tokenizer=open_clip.get_tokenizer(NAME)."
        raise PromptError(got, expected=f"its tokenizer, as only CLIP's own ({_WORDS} words) is known", fix=fix)
    try:
        ids = given(_PROBES)
        assert isinstance(ids, torch.Tensor) and ids.ndim == 2
    except Exception as error:
        got = f"tokenizer={type(given).__name__}, which makes no ids of texts"
        expected, fix = "a function of texts that gives ids (text, context)", "Pass what open_clip.get_tokenizer gives."
        raise PromptError(got, expected=expected, fix=fix) from error
    return own if words == [_WORDS] and torch.equal(ids.long(), own(_PROBES)) else given


def _preparation(clip: nn.Module, given: object, *, is_openais: bool) -> tuple[dict[str, Any], str]:
    """Say how images are prepared, and where that is known from ("" for a guess)."""
    from open_clip.transform import PreprocessCfg

    usual = asdict(PreprocessCfg()) | {"before_crop": None}
    if isinstance(given, Preprocess):
        return usual | vars(given), "what was passed"
    if isinstance(given, Mapping):
        return usual | dict(given), "what was passed"
    if given is not None:
        return usual | read_transform(given), "what was passed"
    if own := getattr(clip.get_submodule("visual"), "preprocess_cfg", None):
        return usual | dict(own), "the model's own preprocess_cfg"
    return usual, "OpenAI's preparation" if is_openais else ""


def _warn_unprepared(taken: Preprocess) -> None:
    mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (taken.mean, taken.std))
    got = f"{taken.resize_mode}, {taken.interpolation}, mean {mean}, std {std}"
    warn(
        f"The model in memory does not say how its images are prepared: {got} are taken, as for OpenAI's; "
        "to settle it pass preprocess=, the transform that came with it."
    )
