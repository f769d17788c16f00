"""Two siblings in one image, or four things in a mosaic: does each prompt's map stay on its own thing?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import Example
from denseclip_viz.errors import PromptError, warn
from denseclip_viz.measure.arrangements import MOSAIC, MOST, PAIR, Arrangement, Arrangements, Photos, World, levels_of
from denseclip_viz.measure.engines import Engine
from denseclip_viz.measure.evaluation import run
from denseclip_viz.measure.map_methods import Draw, MapMethods, Methods, several
from denseclip_viz.measure.map_scores import Floats, cell_areas, truth_on_grid
from denseclip_viz.measure.quantities import with_quantities
from denseclip_viz.prompts import Prompts
from denseclip_viz.validation import is_number, is_whole, short

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.clip.dense_path import DensePath
    from denseclip_viz.model import Model
    from denseclip_viz.trace import Trace

ALONE, BOTH, EMPTY = CONDITIONS = ("alone", "together", "empty place")
WORDINGS = ("one prompt each", "one joint text")
PARTS = ("own", "sibling", "elsewhere")
_TEXTS = 2 * MOST - 1  # each thing, then the first two, three and four in one text
_ROUNDING = 1e-6  # of a map's largest value: what rises by less is flat
Numbers = dict[str, tuple[tuple[str, ...], Any]]
_AXES = ("candidate", "text", "region")


@guarded
def copresence(
    model: Model,
    images: Any = None,
    methods: Methods = None,
    *,
    pairs: Sequence[Sequence[str]] | None = None,
    scenes: int = 90,
    mosaics: int = 30,
    distances: Sequence[float] = (0.02, 0.15, 0.3),
    sizes: Sequence[float] = (0.2, 0.28, 0.36),
    templates: Any = "none",
    store: str | os.PathLike[str] | None = None,
    batch_size: int = 8,
    engine: Engine | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Ask whether each prompt's map stays on its own thing where its sibling stands in the same image.

    Two siblings, such as a taxi and a limousine, are drawn on one ground: both, and each alone. A prompt's map leaks
    where it rises on the sibling; leakage is that rise (the mean on the sibling less the mean on the rest, not below
    0) as a share of this and the rise on its own thing: 0 where it stays on its own, 0.5 where it makes no
    difference or does not rise at all, 1 where it is on the sibling alone.

    - "together": both stand in the image.
    - "alone": its own thing stands in one image, and the sibling, by itself, in another: what the two look like to
      the prompt, without one disturbing the other.
    - "empty place": the sibling is not there; what spills from its own thing over to where the sibling would stand.

    In a mosaic of four things a map's share is its mass in the right quadrant, averaged over the first one to four
    things, asked for by a prompt each or by one joint text ("a taxi, a whale and an oak"). Four quadrants: chance is
    0.25; one map for n things has at most 1/n in the quadrant of each.

    Args:
        model: A loaded model.
        images: Of one thing each, `{prompt: images}`, or pairs of an image and its prompt; they are laid on a plain
            ground and the whole image counts as the thing. By default scenes of the bundled world, with exact masks.
        methods: As for `faithfulness`: names of dense paths and attributions, or functions of model, trace and vectors;
            by default all. Those by gradients take a pass back for each prompt.
        pairs: Which two stand together; by default all siblings of the bundled world, or all prompts of the images.
        scenes: How many pairs are drawn, three images each; they go through all distances, sizes and pairs.
        mosaics: How many mosaics are drawn.
        distances: Between the two, edge to edge, as shares of the image's side.
        sizes: Of each, the root of its box's area as a share of the side.
        templates: As for `Prompts`; several are one mean vector.
        store: As for `evaluate`.
        batch_size: As for `Model.trace_many`.
        engine: As for `evaluate`.
        progress: Show a bar where somebody can see it.

    Returns:
        `leakage` (scene, candidate, condition, prompt); `rise` (…, on) on either thing, in the map's own units; `peak`
        (scene, candidate, prompt, part), where a map's highest cell lies with both in the image, in shares of its area;
        `share` (mosaic, candidate, wording, named) of the mass above the map's mean, `share_positive` of what is above
        0, and `hit`, of the highest cell. `copresence_table` averages them, `plot.copresence` draws them.

    Warns:
        UserWarning: the run was interrupted.

    Raises:
        PromptError: pairs that there are not, numbers that cannot be, or things for which there is no room.
        LayerError: a method that there is not.

    Source: the mosaics, Baniecki et al., FIxLIP (arXiv 2508.05430), section 5, where maps of the joint text of four
    fall to 0.28.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, options = dcv.load("bundled-vit"), {"scenes": 2, "mosaics": 2, "progress": False}
        >>> result = dcv.measure.copresence(model, methods=["value"], pairs=[("taxi", "limousine")], **options)
        >>> result.leakage.dims, result.share.dims
        (('scene', 'candidate', 'condition', 'prompt'), ('mosaic', 'candidate', 'wording', 'named'))
    """
    _check(scenes, mosaics, pairs)
    levels = levels_of(_shares_of_side("distances", distances), _shares_of_side("sizes", sizes))
    side = max(model.preprocess.size)
    cast = World.of(pairs, side) if images is None else Photos.of(images, pairs, side, model.preprocess.mean)
    dataset = Arrangements(cast, scenes, mosaics, levels)
    each = EachItsPrompts(model, several(methods), templates, cast.names[0])
    options = {"batch_size": batch_size}
    measured = run(model, dataset, each, regions, options, store=store, engine=engine, progress=progress)
    result = answers(measured)
    if measured.attrs["stopped"]:
        if not result.sizes["scene"] + result.sizes["mosaic"]:
            raise KeyboardInterrupt
        warn(f"Interrupted: this is about {result.sizes['scene']} pairs and {result.sizes['mosaic']} mosaics.")
    return result


def _check(scenes: int, mosaics: int, pairs: Any) -> None:
    if not (is_whole(scenes, 0) and is_whole(mosaics, 0) and scenes + mosaics):
        got, fix = f"scenes={scenes!r}, mosaics={mosaics!r}", "Pass scenes=90, mosaics=30, say."
        raise PromptError(got, expected="whole numbers, not both 0", fix=fix)
    listed = isinstance(pairs, (list, tuple)) and all(isinstance(pair, (list, tuple)) for pair in pairs)
    if pairs is not None and not (listed and all(isinstance(one, str) for pair in pairs for one in pair)):
        got, fix = f"pairs={short(pairs)}", 'Pass pairs=[("taxi", "limousine")], say.'
        raise PromptError(got, expected="a list of pairs of prompts", fix=fix)


def _shares_of_side(name: str, several: Iterable[float]) -> tuple[float, ...]:
    """Read distances, or sizes, of which none can be 0."""
    try:
        listed = tuple(several)
    except TypeError:  # one number, which is no list
        listed = ()
    if not listed or not all(is_number(one, 0, 1) and (one > 0 or name == "distances") for one in listed):
        expected = "a list of numbers from 0 to 1" + ", none of them 0" * (name == "sizes")
        raise PromptError(f"{name}={several!r}", expected=expected, fix="Pass shares of the image's side: [0.2, 0.3].")
    return listed


@dataclass(frozen=True)
class EachItsPrompts:
    """Methods whose prompts are those of each image.

    Attributes:
        model: A loaded model.
        methods: As for `MapMethods.of`.
        templates: As for `Prompts`.
        prompt: Any one, to ask methods what they are.
    """

    model: Model
    methods: tuple[str | DensePath | Draw, ...] | None
    templates: Any
    prompt: str

    @property
    def names(self) -> Sequence[str]:
        """Their names."""
        return self._of((self.prompt,)).names

    @property
    def trace_options(self) -> Mapping[str, Any]:
        """What a trace must hold for them."""
        return self._of((self.prompt,)).trace_options

    def for_example(self, example: Arrangement) -> MapMethods:
        """Ask for what stands in this image."""
        return self._of(example.texts)

    def maps(self, trace: Trace) -> Any:
        """Refuse: the prompts are those of an image."""
        raise TypeError("ask for_example first")

    def _of(self, texts: Sequence[str]) -> MapMethods:
        return MapMethods.of(self.model, Prompts(list(texts), self.templates), self.methods)


def regions(maps: Floats, example: Example, trace: Trace) -> Numbers:
    """Measure, for `evaluate`, each map on each thing of an image and on the rest of it, the last region.

    `rise` is the map's mean there less its mean on the rest; `mass` the share of what stands above the map's own
    mean; `positive` the share of what is above 0; `peak` the share of its highest cells. A flat map has its mass
    and its peak everywhere alike.

    Args:
        maps: `(candidate, text, y, x)`.
        example: Says what stands where.
        trace: Says where cells lie.
    """
    assert isinstance(example, Arrangement) and example.masks is not None
    areas = cell_areas(trace.geometry).ravel()
    shares = truth_on_grid(example.masks, trace.geometry, example.names).shares
    visible = areas > 0
    things = np.nan_to_num(shares[:, visible]) * areas[visible]
    weights = np.concatenate([things, (areas[visible] - things.sum(0, keepdims=True)).clip(0)])
    flat = np.asarray(maps, dtype=np.float64).reshape(*maps.shape[:2], -1)[..., visible]
    total = weights.sum(1)
    mean = flat @ weights.T / np.where(total > 0, total, np.nan)
    nothing = _ROUNDING * np.abs(flat).max(-1, keepdims=True)
    rise, above = mean - mean[..., -1:], flat - (flat @ areas[visible] / areas[visible].sum())[..., None]
    measured = {
        "rise": np.where(np.abs(rise) > nothing, rise, np.where(np.isnan(rise), np.nan, 0.0)),
        "mass": _shares(np.where(above > nothing, above, 0.0), weights),
        "positive": _shares(flat.clip(0), weights),
        "peak": _shares((flat >= flat.max(-1, keepdims=True) - nothing).astype(float), weights),
    }
    place = {"shows": example.shows, "number": example.number, "distance": example.distance, "size": example.size}
    names = np.array([*example.names, *[""] * (MOST - len(example.names))])
    facts: Numbers = {name: ((), value) for name, value in place.items()}
    return {
        **{name: (_AXES, _padded(values)) for name, values in measured.items()},
        **facts,
        "thing": (("place",), names),
    }


def _shares(heights: Floats, weights: Floats) -> Floats:
    """Share a map's mass out over regions; nothing at all lies everywhere alike."""
    mass = np.where((heights > 0).any(-1, keepdims=True), heights, 1.0) @ weights.T
    shares: Floats = mass / mass.sum(-1, keepdims=True)
    return shares


def _padded(values: Floats) -> Floats:
    """Bring all images to one shape: `(candidate, text, region)`, the rest of the image last."""
    methods, texts, places = values.shape
    padded = np.full((methods, _TEXTS, MOST + 1), np.nan)
    padded[:, :texts, : places - 1], padded[:, :texts, -1] = values[..., :-1], values[..., -1]
    return padded


def answers(measured: xr.Dataset) -> xr.Dataset:
    """Compare the images of each pair, and the wordings of each mosaic; pairs that are not complete are left out."""
    import xarray as xr

    coords: dict[str, Any] = {"candidate": measured["candidate"].values, "condition": list(CONDITIONS)}
    coords |= {"part": list(PARTS), "on": list(PARTS[:2]), "wording": list(WORDINGS), "named": range(1, MOST + 1)}
    attrs = {name: value for name, value in measured.attrs.items() if name != "unread"}
    return with_quantities(xr.Dataset({**_pairs(measured), **_mosaics(measured)}, coords=coords, attrs=attrs))


def _pairs(measured: xr.Dataset) -> dict[str, Any]:
    shows, numbers = measured["shows"].values, measured["number"].values
    places = [{int(numbers[at]): at for at in np.flatnonzero(shows == kind)} for kind in PAIR]
    complete = sorted(set.intersection(*map(set, places)))
    both, *alone = (np.array([table[number] for number in complete], dtype=np.intp) for table in places)
    rise, peak = measured["rise"].values, measured["peak"].values
    rises, peaks = [], []
    for own, other in ((0, 1), (1, 0)):
        looks = {ALONE: (alone[own], alone[other]), BOTH: (both, both), EMPTY: (alone[own], alone[own])}
        rises.append([[rise[a][:, :, own, own], rise[b][:, :, own, other]] for a, b in looks.values()])
        peaks.append([peak[both][:, :, own, region] for region in (own, other, MOST)])
    # from (prompt, condition, part, scene, candidate)
    rising = np.moveaxis(np.array(rises), (3, 4, 1, 0, 2), range(5))
    own, sibling = np.moveaxis(rising.clip(0), -1, 0)
    total = own + sibling
    axes, scene = ("scene", "candidate", "condition", "prompt"), measured.isel(image=both)
    return {
        "leakage": (axes, np.where(total > 0, sibling / np.where(total > 0, total, 1), 0.5)),
        "rise": ((*axes, "on"), rising),
        "peak": (("scene", "candidate", "prompt", "part"), np.moveaxis(np.array(peaks), (2, 3, 0, 1), range(4))),
        "distance": ("scene", scene["distance"].values),
        "size": ("scene", scene["size"].values),
        "thing": (("scene", "prompt"), scene["thing"].values[:, :2]),
    }


def _mosaics(measured: xr.Dataset) -> dict[str, Any]:
    mosaics = measured.isel(image=measured["shows"].values == MOSAIC)
    count = int((mosaics["thing"].values != "").sum(1).max(initial=0))
    names = {"share": "mass", "share_positive": "positive", "hit": "peak"}
    axes, shape = (
        ("mosaic", "candidate", "wording", "named"),
        (len(mosaics["image"]), len(mosaics["candidate"]), 2, MOST),
    )
    data: dict[str, Any] = {name: (axes, np.full(shape, np.nan)) for name in names}
    for name, source in names.items():
        shares = mosaics[source].values  # (mosaic, candidate, text, region)
        for named in range(1, count + 1):
            things, joint = np.arange(named), 0 if named == 1 else count + named - 2
            data[name][1][:, :, 0, named - 1] = shares[:, :, things, things].mean(-1)
            data[name][1][:, :, 1, named - 1] = shares[:, :, joint, :named].mean(-1)
    return data
