"""Networks of students: from a tower's own input `(image, 3, H, W)` to features `(image, D, h, w)` in text space.

    clip-fpn              the teacher's own ResNet and value path, copied and free to learn, and what a feature pyramid
                          of stride 4 adds to them: nothing at first, so that the student begins as its teacher
    deeplabv2-resnet101   the published student: stride 8, four dilated convolutions, summed; also resnet50
    deeplabv3-resnet101   torchvision's, also resnet50 and mobilenet
    smp:FPN:resnet18      segmentation-models-pytorch: any of its decoders that convolve, on any of its encoders

Nothing is downloaded: what is no copy of the teacher begins with random weights, or with a file's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.clip.load.file_kinds import read_file
from denseclip_viz.clip.load.weights import Drawn, hash_start, local_file
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.towers import Tower
from denseclip_viz.clip.towers.stages import Stages, ValuePath, body_weights, structure_of, value_weights
from denseclip_viz.errors import ModelNameError, WeightsError, silenced, warn
from denseclip_viz.validation import short, some

_MULTIPLE = 32  # pixels: the coarsest grid inside any of these networks
_DECODERS = "DeepLabV3 DeepLabV3Plus FPN Linknet MAnet UPerNet Unet UnetPlusPlus".split()  # of smp, for any size
_PYRAMID, _SEGMENTATION = 128, 64  # channels of the pyramid on a copied tower


@dataclass(frozen=True)
class Built:
    """A network, and what it was built of.

    Attributes:
        network: From `(image, 3, H, W)` to `(image, D, ceil(H / stride), ceil(W / stride))`.
        facts: All that `rebuild` needs to build its like without weights, and where they are from; JSON.
    """

    network: nn.Module
    facts: Mapping[str, Any]


class TextSpaceNetwork(nn.Module):
    """A body and what it makes of any size of input.

    Args:
        backbone: What weights of others can be put into.
        rest: From what the backbone gives to features.

    Attributes:
        stride: Pixels of the input along the side of a position.
    """

    def __init__(self, backbone: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.backbone, self.rest = backbone, rest
        self.stride = _stride(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Give features `(image, D, h, w)`; an input that does not fill the coarsest grid is padded with zeros."""
        height, width = pixels.shape[-2:]
        whole = F.pad(pixels, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE))
        features: Tensor = self.rest(self.backbone(whole))
        return features[..., : -(-height // self.stride), : -(-width // self.stride)]


class _Pyramid(nn.Module):
    """Give a pyramid's convolutions the list of what stages see, then a feature for each position."""

    def __init__(self, decoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.decoder, self.head = decoder, head

    def forward(self, levels: list[Tensor]) -> Tensor:
        return self.head(self.decoder(levels))  # type: ignore[no-any-return]


class _ValueAndPyramid(_Pyramid):
    """Add what a pyramid gives to the value path of what it stands on."""

    def __init__(self, decoder: nn.Module, head: nn.Conv2d, value: ValuePath) -> None:
        super().__init__(decoder, head)
        self.value = value
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, stages: list[Tensor]) -> Tensor:
        added = super().forward(stages)
        return added + F.interpolate(self.value(stages[-1]), added.shape[-2:], mode="bilinear", align_corners=False)


class _Picked(nn.Module):
    """Give the last of what torchvision's backbones name to what stands on them."""

    def __init__(self, rest: nn.Module) -> None:
        super().__init__()
        self.rest = rest

    def forward(self, named: Mapping[str, Tensor]) -> Tensor:
        return self.rest(named["out"])  # type: ignore[no-any-return]


class _DilatedSum(nn.Module):
    """DeepLabv2's head: convolutions of several dilations, summed (arXiv 1606.00915)."""

    def __init__(self, channels: int, dimension: int) -> None:
        super().__init__()
        reach = (6, 12, 18, 24)
        self.branches = nn.ModuleList(nn.Conv2d(channels, dimension, 3, padding=r, dilation=r) for r in reach)

    def forward(self, features: Tensor) -> Tensor:
        return torch.stack([branch(features) for branch in self.branches]).sum(0)


def _library() -> Any:
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        got, fix = "A student without segmentation-models-pytorch", 'Run pip install "denseclip_viz[plus]".'
        raise ModelNameError(got, expected="that library, whose decoders it stands on", fix=fix) from error
    return smp


def _clip_fpn(name: str, dimension: int, structure: Mapping[str, Any]) -> nn.Module:
    smp = _library()
    backbone = Stages(**structure)
    decoder = smp.decoders.fpn.decoder.FPNDecoder(
        backbone.channels,
        encoder_depth=5,
        pyramid_channels=_PYRAMID,
        segmentation_channels=_SEGMENTATION,
        dropout=0.0,
        merge_policy="cat",
    )
    head, value = nn.Conv2d(decoder.out_channels, dimension, 1), ValuePath(backbone.channels[-1], dimension)
    return TextSpaceNetwork(backbone, _ValueAndPyramid(decoder, head, value))


def _deeplab(name: str, dimension: int, structure: Mapping[str, Any]) -> nn.Module:
    from torchvision.models import segmentation

    head, _, body = name.partition("-")
    make = getattr(segmentation, f"deeplabv3_{body}{'_v3_large' if body == 'mobilenet' else ''}")
    whole = make(weights=None, weights_backbone=None, num_classes=dimension)
    rest = whole.classifier if head == "deeplabv3" else _DilatedSum(2048, dimension)
    return TextSpaceNetwork(whole.backbone, _Picked(rest))


def _smp(name: str, dimension: int, structure: Mapping[str, Any]) -> nn.Module:
    smp = _library()
    _, decoder, encoder = (*name.split(":", 2), "", "")[:3]
    if decoder not in _DECODERS:
        expected, fix = f"smp:DECODER:ENCODER with one of {', '.join(_DECODERS)}", "Try 'smp:FPN:resnet18'."
        raise ModelNameError(f"the network {short(name)}", expected=expected, fix=fix)
    asked = {"encoder_weights": None, "classes": dimension}
    coarse = {} if decoder in ("Linknet", "MAnet", "Unet", "UnetPlusPlus") else {"upsampling": 1}
    try:
        whole = getattr(smp, decoder)(encoder, **asked, **coarse)
    except (KeyError, ValueError, RuntimeError) as error:
        got, expected = f"the encoder {short(encoder)} of {short(name)}", f"one that {decoder} can stand on"
        fix = "segmentation_models_pytorch.encoders.get_encoder_names() lists them; 'tu-NAME' is one of timm."
        raise ModelNameError(got, expected=expected, fix=fix) from error
    return TextSpaceNetwork(whole.encoder, _Pyramid(whole.decoder, whole.segmentation_head))


_BUILDERS: Mapping[str, Callable[[str, int, Mapping[str, Any]], nn.Module]] = {
    "clip-fpn": _clip_fpn,
    "deeplabv2-resnet50": _deeplab,
    "deeplabv2-resnet101": _deeplab,
    "deeplabv3-resnet50": _deeplab,
    "deeplabv3-resnet101": _deeplab,
    "deeplabv3-mobilenet": _deeplab,
    "smp": _smp,
}


@guarded
def build(
    name: str,
    dimension: int,
    *,
    teacher: Tower | None = None,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Built:
    """Build a network by its name; see the table at the head of this file.

    Args:
        name: Which one.
        dimension: D, the length of the teacher's embeddings.
        teacher: The tower that "clip-fpn" copies.
        weights: A file of the backbone's weights, by the names that its own library gives them; a classifier behind
            it is left aside.
        seed: Of everything that begins at random; the caller's own random numbers are not touched.

    Returns:
        The network, in training mode, and what it was built of.

    Raises:
        ModelNameError: No network of that name.
        UnsupportedTowerError: A tower that "clip-fpn" cannot copy, or none.
        WeightsError: A file of other weights.

    Warns:
        UserWarning: A backbone of random weights.

    Example:
        >>> import denseclip_viz as dcv
        >>> network = build("clip-fpn", 128, teacher=dcv.load().tower).network
        >>> network(torch.zeros(1, 3, 96, 64)).shape
        torch.Size([1, 128, 24, 16])
    """
    if not isinstance(name, str) or name.partition(":")[0] not in _BUILDERS:
        expected, fix = f"one of {', '.join(_BUILDERS)}:DECODER:ENCODER", "Try 'clip-fpn' or 'smp:FPN:resnet18'."
        raise ModelNameError(f"the network {short(name)}", expected=expected, fix=fix)
    copies = name == "clip-fpn"
    if copies and (teacher is None or weights is not None):
        got = "clip-fpn without a teacher" if teacher is None else "weights for clip-fpn"
        fix = "Leave weights out, or choose another network, such as 'smp:FPN:resnet18'."
        raise WeightsError(got, expected="a tower to copy, whose weights it begins with", fix=fix)
    facts = {"name": name, "dimension": dimension, "structure": structure_of(teacher) if copies and teacher else {}}
    if copies and teacher and (own := len(value_weights(teacher)["c_proj.bias"])) != dimension:
        got = f"{dimension} dimensions for clip-fpn of embeddings of {own}"
        raise WeightsError(got, expected="the teacher's own", fix=f"Pass dimension={own}.")
    with Drawn(seed):
        network = rebuild(facts)
    facts |= {"seed": seed, "stride": network.stride}
    if copies and teacher:
        network.backbone.visual.load_state_dict(body_weights(teacher))
        network.rest.value.load_state_dict(value_weights(teacher))
        return Built(network, {**facts, "backbone": "the teacher's own"})
    if weights is None:
        warn(f"{name} begins with random weights: it learns slowly. Give weights=, a file of its backbone's.")
        return Built(network, {**facts, "backbone": "random"})
    return Built(network, {**facts, **_filled(network.backbone, weights, name)})


def rebuild(facts: Mapping[str, Any]) -> Any:
    """Build the like of a network by what was kept of it; its weights are to be filled in.

    Example:
        >>> rebuild({"name": "clip-fpn", "dimension": 8, "structure": {"blocks": [1, 1, 1, 1], "width": 8}}).stride
        4
    """
    name = facts["name"]
    return _BUILDERS[name.partition(":")[0]](name, facts["dimension"], facts["structure"])


def _stride(network: Any) -> int:
    """Find pixels a position on an input of nothing, in eval mode, so that no statistic moves."""
    network.stride, network.training = 1, False
    training = [part for part in network.modules() if part.training]
    try:
        network.eval()
        with torch.no_grad(), silenced():
            size = 2 * _MULTIPLE
            return size // int(network(torch.zeros(1, 3, size, size)).shape[-1])
    finally:
        network.training = True
        for part in training:
            part.training = True


def _filled(backbone: nn.Module, weights: str | os.PathLike[str], name: str) -> dict[str, str]:
    """Put a file's weights into a backbone, all of them or none."""
    file = local_file(weights)
    read = read_file(file)
    state = read.get("state_dict", read) if isinstance(read, Mapping) else {}
    mine = backbone.state_dict()
    missing = [key for key in mine if key not in state]
    other = [key for key in mine if key in state and getattr(state[key], "shape", None) != mine[key].shape]
    more = [str(key) for key in state if key not in mine and str(key).split(".")[0] not in _CLASSIFIERS]
    if missing or other or more:
        parts = (("missing", missing), ("of another shape", other), ("unexpected", more))
        differences = "; ".join(f"{what}: {some(keys)}" for what, keys in parts if keys)
        fix = "Save the backbone's own state dict; a classifier on it may stay in."
        got = f"{file.name} does not fit the backbone of {name} ({differences})"
        raise WeightsError(got, expected=f"the {len(mine)} tensors of that backbone", fix=fix)
    backbone.load_state_dict({key: state[key] for key in mine})
    return {"backbone": file.name, "backbone_hash": hash_start(file)}


_CLASSIFIERS = ("fc", "classifier", "head", "last_linear")  # what stands behind a backbone that was trained to classify
