"""Results as the maps make them, drawn by hand: a car on grass under a sun, and maps peaked on them."""

import numpy as np
import torch
import xarray as xr
from PIL import Image, ImageDraw

from denseclip_viz.geometry import Geometry, Native, Preprocess, Tiles, Whole
from denseclip_viz.trace import Trace

PROMPTS = ("a red car", "grass", "the sun", "a giraffe")
MANY = (
    "a red car", "green grass", "the blue sky", "the sun", "a wheel", "a window", "a road", "a cloud",
    "a giraffe", "a grand piano", "a bowl of soup", "handwriting",
)  # fmt: skip
WRITTEN = ("고양이 한 마리", "赤い車と草", "سيارة حمراء", "🐱 a cat $x_1$", "एक लाल कार", "รถสีแดง")
LONG = "a photograph of a small red car that somebody left on the grass beside the road in the afternoon sun, " * 3
TEMPLATES = ("a photo of {}.", "a drawing of {}.", "{}")
CLIP = Preprocess((224, 224), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
# Where each thing is, as shares of height and width, and how far it reaches.
SPOTS = [(0.66, 0.36, 0.16), (0.90, 0.60, 0.30), (0.16, 0.82, 0.12), (0.30, 0.30, 0.30), (0.76, 0.25, 0.06)]


def image(size=(240, 360)):
    """Draw the scene: uint8 (row, column, rgb)."""
    height, width = size
    image = Image.new("RGB", (width * 2, height * 2), "#9ecbe8")
    draw = ImageDraw.Draw(image)
    h, w = 2 * height, 2 * width
    draw.rectangle((0, 0.72 * h, w, h), fill="#5c9a45")
    for i in range(0, w, max(w // 60, 1)):
        draw.line((i, h, i + 0.01 * w, 0.80 * h), fill="#4a8537", width=2)
    r = 0.10 * min(h, w)
    draw.ellipse((0.82 * w - r, 0.16 * h - r, 0.82 * w + r, 0.16 * h + r), fill="#ffd84a")
    draw.rounded_rectangle((0.16 * w, 0.60 * h, 0.58 * w, 0.76 * h), radius=0.02 * w, fill="#c62f28")
    draw.polygon(
        [(0.24 * w, 0.60 * h), (0.29 * w, 0.48 * h), (0.45 * w, 0.48 * h), (0.51 * w, 0.60 * h)], fill="#d8554e"
    )
    draw.rectangle((0.31 * w, 0.51 * h, 0.43 * w, 0.59 * h), fill="#cfe3ee")
    for centre in (0.25, 0.49):
        r = 0.05 * min(h, w) + 2
        draw.ellipse((centre * w - r, 0.76 * h - r, centre * w + r, 0.76 * h + r), fill="#252525")
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def geometry(size=(240, 360), *, mode="whole", cell=16) -> Geometry:
    """Plan the scene as a model would take it; a cell of 224 px gives a grid of 1 x 1 for a square."""
    fit = {"whole": Whole(), "native": Native(), "tiles": Tiles()}[mode]
    return fit.plan(size, preprocess=CLIP, cell=(cell, cell))


def _blobs(where: Geometry, count: int) -> np.ndarray:
    """(prompt, y, x): 1 at each thing, falling off smoothly; the last quarter of the prompts is nowhere."""
    y, x = where.y[:, None] / where.image[0], where.x[None] / where.image[1]
    maps = []
    for i in range(count):
        row, column, reach = SPOTS[i % len(SPOTS)]
        bump = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * reach**2))
        maps.append(bump if i < count - max(1, count // 4) or count == 1 else 0.15 * bump)
    return np.stack(maps)


def comparison(
    *,
    prompts=PROMPTS,
    absent=None,
    templates=1,
    size=(240, 360),
    mode="whole",
    cell=16,
    heads=8,
    layers=None,
    random_weights=0,
    seed=0,
) -> xr.Dataset:
    """Make a comparison; `layers` adds the readings of a "vit" or of a "resnet"."""
    rng, where = np.random.default_rng(seed), geometry(size, mode=mode, cell=cell)
    grid, names = where.grid, list(TEMPLATES[:templates])
    absent = (
        [len(prompts) > 1 and i >= len(prompts) - max(1, len(prompts) // 4) for i in range(len(prompts))]
        if (absent is None)
        else absent
    )
    blobs = _blobs(where, len(prompts))[None] * (1 - 0.15 * np.arange(templates))[:, None, None, None]
    dense = 0.16 + 0.12 * blobs + 0.006 * rng.standard_normal(blobs.shape)
    heads_at = np.stack([np.roll(_blobs(where, 1)[0], h, axis=1) + 0.1 * rng.random(grid) for h in range(heads)])
    heads_at *= np.linspace(0.3, 0.9, heads)[:, None, None] / heads_at.sum((1, 2), keepdims=True)
    attention = heads_at.mean(0)
    values = 0.4 * blobs - 0.08
    contribution, gap = attention * values, (1 / (1 + attention.size) - attention) * values
    score = 0.17 + 0.07 * blobs.max((2, 3))
    rest = (score - contribution.sum((2, 3)))[..., None] * np.array([0.75, 0.25])
    per_text, maps = ("template", "prompt"), ("template", "prompt", "y", "x")
    data = {
        "dense": (maps, dense),
        "contribution": (maps, contribution),
        "gap": (maps, gap),
        "score": (per_text, score),
        "even_score": (per_text, score + gap.sum((2, 3))),
        "rest": ((*per_text, "term"), rest),
        "gap_rest": ((*per_text, "term"), np.zeros_like(rest)),
        "attention": (("y", "x"), attention),
        "attention_heads": (("head", "y", "x"), heads_at),
        "crowding": (per_text, dense.max((2, 3)) - score),
        "spearman": (per_text, np.full(score.shape, 0.42)),
        "same_peak": (per_text, _peaks(dense) == _peaks(contribution)),
        "attention_in_top_decile": (per_text, np.full(score.shape, 0.31)),
        "global_vs_mean_dense": ((), 0.61),
        "global_vs_attended_dense": ((), 0.83),
        "image": (("row", "column", "rgb"), image(size)),
    }
    coords = {
        "template": names, "prompt": list(prompts), "absent": ("prompt", np.asarray(absent, dtype=bool)),
        "y": where.y, "x": where.x, "head": np.arange(heads), "term": ["mean token", "bias"],
    }  # fmt: skip
    both = xr.Dataset(data, coords=coords, attrs=attributes(where, random_weights))
    return both if layers is None else {"vit": _with_vit_layers, "resnet": _with_resnet_layers}[layers](both, rng)


def along_paths(both, names=("value", "vanilla", "sclip")) -> xr.Dataset:
    """Give the dense maps of a comparison an axis of paths, each a little lower than the one before."""
    each = [both.dense - 0.03 * i for i in range(len(names))]
    dense = xr.concat(each, dim=xr.DataArray(list(names), dims="path"))
    return both.assign(dense=dense).assign_attrs(path=", ".join(names))


def _peaks(maps):
    return maps.reshape(*maps.shape[:2], -1).argmax(-1)


def attributes(where: Geometry, random_weights: int = 0) -> dict:
    return {
        "model": "RN50",
        "weights": "random" if random_weights else "openai",
        "weights_hash": "3f1d2c4b5a69788796",
        "activation": "quickgelu",
        "preprocess": "224 px, bicubic",
        "path": "value",
        "versions": "denseclip_viz 0.1.0",
        "random_weights": random_weights,
        "image_name": "car.jpg",
        "geometry": where.to_json(),
    }


def _with_vit_layers(both, rng):
    names = [f"blocks.{i}" for i in range(12)]
    grow = np.linspace(0.05, 1, 12)[:, None, None, None, None]
    dense = both.dense.to_numpy()[None]
    noise = 0.02 * rng.standard_normal((12, *both.dense.shape)) * (1 - grow)
    score = both.score.to_numpy()[None] * (0.4 + 0.6 * grow[..., 0, 0])
    return both.assign(
        layer_dense=(("layer", *both.dense.dims), dense.mean() + (dense - dense.mean()) * grow + noise),
        layer_score=(("layer", *both.score.dims), score),
        layer_agreement=(("layer",), 0.2 + 0.6 * grow.ravel()),
    ).assign_coords(layer=names).assign_attrs(
        layer_readout="value path and class token of each block through the final norm and projection"
    )  # fmt: skip


def _with_resnet_layers(both, rng):
    names, dims = (
        ["stem", "layer1", "layer2", "layer3", "layer4"],
        ("layer", "template", "prompt", "fine_y", "fine_x"),
    )
    fine = both.contribution.to_numpy().repeat(4, -2).repeat(4, -1)
    sizes = np.array([0.02, 0.04, 0.1, 0.4, 1.0])[:, None, None, None, None]
    stack = [fine * sizes + 0.02 * sizes * np.abs(fine).max() * rng.standard_normal((5, *fine.shape)) for _ in (0, 1)]
    both = both.assign(layer_global_gradient=(dims, stack[0]), layer_dense_gradient=(dims, stack[1]))
    both = both.assign(layer_cells=("layer", 10 / sizes.ravel()))
    return both.assign_coords(layer=names).assign_attrs(layer_readout="gradient x activation of the score")


def trace(result, depth=6) -> Trace:
    """Make a trace with the grid of a result."""
    where = Geometry.from_json(result.attrs["geometry"])
    cells = torch.randn(*where.grid, depth, generator=torch.Generator().manual_seed(0))
    attention = torch.ones(1, *where.grid) / (where.grid[0] * where.grid[1])
    return Trace(cells.sum((0, 1)), cells, attention, cells, cells, {}, {}, where, image(where.image), "car.jpg")


def similarity(**options) -> xr.DataArray:
    """Make similarity maps (template, prompt, y, x); options as for `comparison`."""
    both = comparison(**{"templates": 3, **options})
    return both.dense.assign_attrs(both.attrs)


def attributed(**options) -> xr.Dataset:
    """A comparison with two attributions of it: one without a sign, one with, far weaker and in another unit."""
    both = comparison(**options)
    maps = xr.concat([both.dense**2, both.gap * 1e-3], dim=xr.DataArray(["grad-cam", "rollout"], dims="candidate"))
    return both.assign(attribution=maps.assign_coords(unit=("candidate", ["cosine", "share"])))


def segmentation(*, labels=("car", "grass", "sky", "sun", "giraffe"), size=(240, 360), mode="whole", random_weights=0):
    """Make a segmentation of the scene; "giraffe" is nowhere, and a part is background."""
    where, shown = geometry(size, mode=mode), image(size).astype(int)
    height, width = size
    red, green, blue = np.moveaxis(shown, -1, 0)
    index = np.where(blue > red + 20, 2, np.where(green > red + 20, 1, np.where((green > 180) & (blue < 120), 3, -1)))
    rows, columns = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    index[(abs(rows - 0.66) < 0.16) & (abs(columns - 0.37) < 0.21)] = 0
    if len(labels) > 5:  # many labels: stripes of the sky
        index = np.where(index == 2, 5 + (columns * (len(labels) - 5)).astype(int), index)
    top, left, bottom, right = where.visible
    unseen = (rows * height < top) | (rows * height >= bottom) | (columns * width < left) | (columns * width >= right)
    index[unseen] = -1
    return xr.Dataset(
        {
            "labels": (("row", "column"), index.astype(np.int16)),
            "probability": (("row", "column"), np.where(index < 0, 0.2, 0.7)),
            "image": (("image_row", "image_column", "rgb"), image(size)),
        },
        coords={"label": list(labels)},
        attrs={**attributes(where, random_weights), "background": "background: best probability below 0.4"},
    )
