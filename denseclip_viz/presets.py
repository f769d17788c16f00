"""Named bundles of switches, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from denseclip_viz.errors import PromptError
from denseclip_viz.geometry import Native, Tiles, Whole

RESNET = "ResNet attention pool"
Fit = str | Native | Whole | Tiles


@dataclass(frozen=True)
class Preset:
    """Defaults that belong together: the first five for `load(preset=)`, the others for what is asked of a model.

    Attributes:
        activation: As for `load`; None leaves a model as its weights want it, here and in the next four.
        layer_norm_eps: As for `load`.
        mean: As for `load`.
        std: As for `load`.
        interpolation: As for `load`.
        geometry: How the image is fitted to the input; by tower family with `""` for all others, or one for all.
        path: The recipe for dense features.
        keys: Which keys key smoothing takes, by tower family; of another family none.
        denoise: Threshold of prompt denoising; 0 for none.
        smooth: Normalisation of key smoothing; `""` for none.
        templates: In which words classes are named, a set by its name or templates; `""` for those of whoever asks.
        scale: What cosines are multiplied by before the softmax that `below` is of; None for the model's own.
        below: Pixels whose best probability is below this are background; 0 for none.
        area: Classes whose share of the pixels that are no background is not above this are named nowhere; 0 for none.
        by_dataset: What is otherwise on a data set, by its name.
    """

    activation: str | None = None
    layer_norm_eps: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    geometry: Fit | Mapping[str, Fit] = "native"
    path: str = "value"
    keys: Mapping[str, str] = field(default_factory=dict)
    denoise: float = 0.0
    smooth: str = ""
    templates: str | tuple[str, ...] = ""
    scale: float | None = None
    below: float = 0.0
    area: float = 0.0
    by_dataset: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.keys, Mapping):
            expected, fix = "kinds of keys by tower family", 'Try {"ViT class token": "key"}.'
            raise PromptError(f"Preset(keys={self.keys!r})", expected=expected, fix=fix)

    def fit(self, family: str) -> Fit:
        """Say how an image is fitted to the input of a tower of this family.

        Example:
            >>> PRESETS["maskclip-paper"].fit("ViT class token")
            Whole(short=512, long=2048, stretch=True, pad='cells')
        """
        if isinstance(self.geometry, Mapping):
            return self.geometry.get(family, self.geometry[""])
        return self.geometry

    def keys_for(self, family: str, smooth: object) -> str:
        """Say which keys such a smoothing takes in a tower of this family, for `trace(keys=)`.

        Example:
            >>> PRESETS["maskclip-paper"].keys_for("ViT class token", "official"), Preset().keys_for("plain mean", "")
            ('projected', '')
        """
        return self.keys.get(family) or "key" if isinstance(smooth, str) and smooth else ""

    def on(self, dataset: str) -> "Preset":
        """Say what it is on a data set; "voc21aug" has the images of "voc21" to be measured on.

        Example:
            >>> PRESETS["sclip"].scale, PRESETS["sclip"].on("voc21").scale
            (40.0, 65.0)
        """
        return replace(self, **self.by_dataset.get(dataset.removesuffix("aug"), {}))


def _paper(long: int, short: int | None = None) -> dict[str, Fit]:
    """Resize to these sides; ViTs there pad to whole patches, ResNets nothing."""
    whole = Whole(short=short, long=long, stretch=True)
    return {"": whole, RESNET: replace(whole, pad="even")}


def _windows(short: int, window: int | None = 224) -> Tiles:
    """Slide over an image resized as mmseg's (2048, short): windows of 224 pixels, every 112."""
    return Tiles(window=window, overlap=0.5, short=short, long=2048, apart=True)


_WINDOWS: dict[str, Any] = {
    "interpolation": "bilinear-opencv",
    "geometry": _windows(336),
    "templates": "imagenet-80",
    "scale": 40.0,
}
_OWN_WINDOWS = {"toyworld": {"geometry": _windows(336, None)}}  # the bundled models' own sizes, which are others
PRESETS = {
    "": Preset(),
    # CLIP as it is: the image and its ratio whole, at the model's own size.
    "clip": Preset(geometry="whole", templates="imagenet-80"),
    # The official code of arXiv 2112.01071, chongzhou96/MaskCLIP at 245d31f. Model: GELU and eps 1e-6 in a ViT image
    # tower (configs/_base_/models, backbones/vit.py), ImageNet's mean and std for all (configs/_base_/datasets), whose
    # image scales are here by data set; mmcv resizes with OpenCV. With what refines (ks_thresh, pd_thresh), which its
    # configs have in comments: denoise=0 and smooth="" is what its readme reports.
    "maskclip-paper": Preset(
        activation="image-gelu",
        layer_norm_eps=1e-6,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bilinear-opencv",
        geometry=_paper(short=512, long=2048),
        path="value-maskclip",
        keys={"ViT class token": "projected", RESNET: "key"},
        denoise=0.5,
        smooth="official",
        templates="maskclip-85",
        by_dataset={
            "context59": {"geometry": _paper(long=520)},
            "cityscapes": {"geometry": _paper(short=512, long=1024)},
        },
    ),
    # wangf3014/SCLIP at b56bd30: clip_segmentor.py, configs/cfg_*.py.
    "sclip": Preset(
        path="sclip",
        **_WINDOWS,
        by_dataset={
            "voc21": {"scale": 65.0, "below": 0.1, "area": 0.1},
            "context60": {"scale": 50.0, "below": 0.1},
            "coco-object": {"scale": 50.0, "below": 0.1},
            "coco-stuff": {"geometry": _windows(448)},
            "cityscapes": {"geometry": _windows(560)},
            **_OWN_WINDOWS,
        },
    ),
    # SuleBai/SC-CLIP at 0417ba9: scclip_segmentor.py, configs/cfg_*.py.
    "sc-clip": Preset(
        path="sc-clip",
        **_WINDOWS,
        by_dataset={
            "voc21": {"scale": 50.0, "below": 0.15, "area": 0.1},
            "context60": {"below": 0.15},
            "coco-object": {"scale": 55.0, "below": 0.35},
            "cityscapes": {"geometry": _windows(560)},
            **_OWN_WINDOWS,
        },
    ),
}


def preset_named(preset: str | Preset | None) -> Preset:
    """Find a preset by name.

    Example:
        >>> preset_named("maskclip-paper").smooth
        'official'
    """
    if isinstance(preset, Preset):
        return preset
    preset = "" if preset is None else preset
    if not isinstance(preset, str) or preset not in PRESETS:
        known = ", ".join(name for name in PRESETS if name)
        raise PromptError(f"preset {preset!r} is unknown", expected=f"one of: {known}", fix="Or pass a Preset(...).")
    return PRESETS[preset]
