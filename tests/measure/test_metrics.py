"""Every number of a map against a second way: pixel by pixel, or SciPy's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import xarray as xr

import denseclip_viz as dcv
from denseclip_viz.errors import GeometryError, ImageError, PromptError
from denseclip_viz.geometry import Geometry, Native, Preprocess, Whole, downsample_mask
from denseclip_viz.measure.map_scores import cell_areas
from denseclip_viz.measure.metrics import correlation

CLIP = Preprocess((32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
WAYS = {
    "native": Native().plan((32, 32), preprocess=CLIP, cell=(8, 8)),
    "cropped": Native().plan((32, 48), preprocess=CLIP, cell=(8, 8)),
    "padded": Whole().plan((32, 44), preprocess=CLIP, cell=(8, 8)),
}
PROMPTS = ["grass", "sky", "a giraffe"]


def maps_on(geometry, seed=0, *, ties=False):
    values = np.random.default_rng(seed).uniform(0.1, 0.4, (2, 3, *geometry.grid))
    values = np.round(values, 1) if ties else values
    coords = {"template": ["a {}", "the {}"], "prompt": PROMPTS, "absent": ("prompt", [False, False, True])}
    coords |= {"y": geometry.y, "x": geometry.x}
    attrs = {"geometry": geometry.to_json(), "image_name": "p.png", "model": "m"}
    return xr.DataArray(values, dims=("template", "prompt", "y", "x"), coords=coords, attrs=attrs)


def mask_on(geometry, seed=1):
    """Blobs that do not keep to cells."""
    noise = np.random.default_rng(seed).normal(size=(geometry.image[0] // 4 + 1, geometry.image[1] // 4 + 1))
    return (np.kron(noise, np.ones((4, 4))) > 0.6)[: geometry.image[0], 1 : geometry.image[1] + 1]


def pixels_of(values, mask, geometry):
    """The map in flat cells and the mask, at every pixel that the model saw."""
    top, left, bottom, right = (round(edge) for edge in geometry.visible)
    rows = np.searchsorted(geometry.edges(0), np.arange(top, bottom) + 0.5) - 1
    columns = np.searchsorted(geometry.edges(1), np.arange(left, right) + 0.5) - 1
    return values[np.ix_(rows, columns)].ravel(), mask[top:bottom, left:right].ravel()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_numbers_with_masks_equal_counting_pixels(way, ties):
    geometry = WAYS[way]
    maps, mask = maps_on(geometry, ties=ties), mask_on(geometry)
    table = dcv.measure.templates_table(maps, {"sky": mask}, threshold=0.25).set_index(["template", "prompt"])
    for template in ("a {}", "the {}"):
        values, true = pixels_of(maps.sel(template=template, prompt="sky").values, mask, geometry)
        row = table.loc[template, "sky"]
        cuts = np.unique(values)[::-1]
        named = [values >= cut for cut in cuts]
        ious = [(one & true).sum() / (one | true).sum() for one in named]
        recalls = np.array([0, *((one & true).sum() / true.sum() for one in named)])
        precisions = np.array([(one & true).sum() / one.sum() for one in named])
        assert row["iou_best"] == pytest.approx(max(ious))
        assert row["average_precision"] == pytest.approx((np.diff(recalls) * precisions).sum())
        above = values > 0.25
        assert row["iou"] == pytest.approx((above & true).sum() / (above | true).sum())
    assert table.loc[("a {}", "grass"), ["iou_best", "iou", "average_precision", "pointing_hit"]].isna().all()


def test_pointing_asks_for_the_pixel_at_the_centre_of_the_highest_cell():
    geometry = WAYS["native"]
    maps, mask = maps_on(geometry), np.zeros((32, 32), dtype=bool)
    at = maps.sel(template="a {}", prompt="sky").argmax(("y", "x"))
    mask[int(at["y"]) * 8 + 4, int(at["x"]) * 8 + 4] = True
    assert dcv.measure.templates_table(maps, {"sky": mask}).query("prompt == 'sky'")["pointing_hit"].iloc[0] == 1
    assert dcv.measure.templates_table(maps, {"sky": ~mask}).query("prompt == 'sky'")["pointing_hit"].iloc[0] == 0


def test_a_map_that_is_the_mask_on_the_grid_reaches_the_ceiling_and_none_goes_beyond():
    geometry = WAYS["native"]
    maps, mask = maps_on(geometry), mask_on(geometry)
    maps.loc[{"template": "a {}", "prompt": "sky"}] = downsample_mask(mask, geometry)
    table = dcv.measure.templates_table(maps, {"sky": mask}).query("prompt == 'sky'")
    assert table["iou_best"].iloc[0] == pytest.approx(table["iou_ceiling"].iloc[0])
    assert 0 < table["iou_best"].iloc[1] < table["iou_ceiling"].iloc[1] == table["iou_ceiling"].iloc[0] < 1
    assert table["average_precision"].iloc[0] > table["average_precision"].iloc[1]


def test_numbers_without_masks_equal_scipys_and_their_definitions():
    maps = maps_on(WAYS["native"])
    table = dcv.measure.templates_table(maps, scale=20.0).set_index(["template", "prompt"])
    assert "iou" not in table and "text_distance" not in table
    for template in ("a {}", "the {}"):
        ensemble = maps.sel(prompt="sky").mean("template").values.ravel()
        one, row = maps.sel(template=template), table.loc[template, "sky"]
        sky, grass, giraffe = (one.sel(prompt=name).values.ravel() for name in ("sky", "grass", "a giraffe"))
        weights = np.exp(20 * sky)
        assert row["peak"] == sky.max() and row["margin_absent"] == pytest.approx(sky.max() - giraffe.max())
        assert row["margin_runner_up"] == pytest.approx(sky.max() - grass[sky.argmax()])
        assert row["entropy"] == pytest.approx(scipy.stats.entropy(weights) / np.log(16))
        assert row["area"] == pytest.approx((sky > giraffe.max()).mean())
        assert row["pearson"] == pytest.approx(scipy.stats.pearsonr(sky, ensemble)[0])
        assert row["spearman"] == pytest.approx(scipy.stats.spearmanr(sky, ensemble)[0])
        assert np.isnan(table.loc[(template, "a giraffe"), "margin_absent"])  # no other absent prompt to beat
    assert set(table["absent"].groupby("prompt").first().items()) >= {("a giraffe", True), ("sky", False)}


def test_without_absent_prompts_what_needs_them_is_unknown_and_not_zero():
    table = dcv.measure.templates_table(maps_on(WAYS["native"]).isel(prompt=[0]), {"grass": mask_on(WAYS["native"])})
    assert table[["margin_absent", "area", "iou", "margin_runner_up"]].isna().all(axis=None)
    assert table[["peak", "iou_best", "average_precision"]].notna().all(axis=None)


def test_cells_of_padding_do_not_count():
    geometry = Geometry("whole", image=(8, 8), resized=(8, 8), offset=(0, 0), input=(8, 16), cell=(8, 8))
    values = np.array([[[[0.2, 0.9]]], [[[0.3, 0.8]]]])
    coords = {"template": ["a {}", "the {}"], "prompt": ["sky"]}
    dims, attrs = ("template", "prompt", "y", "x"), {"geometry": geometry.to_json()}
    table = dcv.measure.templates_table(xr.DataArray(values, dims=dims, coords=coords, attrs=attrs))
    assert table["peak"].tolist() == [0.2, 0.3]


def test_a_mask_of_nothing_is_not_judged():
    maps = maps_on(WAYS["native"])
    table = dcv.measure.templates_table(maps, {"sky": np.zeros((32, 32), dtype=bool)})
    assert table[["iou_best", "average_precision", "pointing_hit", "iou_ceiling"]].isna().all(axis=None)


def test_text_distance_is_the_cosine_distance_to_the_mean_of_unit_vectors(load_tiny):
    model = load_tiny("vit")
    prompts = dcv.Prompts(["grass", "a red car"], ["{}", "a photo of {}.", "no {}"])
    maps = model.similarity(np.zeros((32, 32, 3), np.uint8), prompts)
    vectors = model.texts.encode(prompts)
    table = dcv.measure.templates_table(maps, vectors=7 * vectors)
    mean = vectors.mean(0).numpy()
    expected = 1 - (vectors.numpy() * (mean / np.linalg.norm(mean, axis=-1, keepdims=True))).sum(-1)
    assert table["text_distance"].to_numpy() == pytest.approx(expected.ravel(), abs=1e-6)
    with pytest.raises(PromptError, match=r"\(3, 2, D\)"):
        dcv.measure.templates_table(maps, vectors=vectors[:1])


@pytest.mark.parametrize(
    ("masks", "error", "said"),
    [
        ({"sky": np.zeros((32, 31), dtype=bool)}, ImageError, r"'sky' is bool of shape \(32, 31\).*\(32, 32\)"),
        ({"sky": np.zeros((32, 32))}, ImageError, "float64.*mask > 0"),
        ({"skies": np.zeros((32, 32), dtype=bool)}, PromptError, "mask of 'skies'.*'sky'"),
        ([np.zeros((32, 32), dtype=bool)], PromptError, "masks came as list"),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks, error, said):
    with pytest.raises(error, match=said):
        dcv.measure.templates_table(maps_on(WAYS["native"]), masks)


def test_masks_need_maps_that_say_where_they_lie():
    maps = maps_on(WAYS["native"])
    with pytest.raises(GeometryError, match="keep_attrs"):
        dcv.measure.templates_table(
            maps * 1.0 if not (maps * 1.0).attrs else maps.drop_attrs(), {"sky": mask_on(WAYS["native"])}
        )


@pytest.mark.parametrize("options", [{"scale": 0}, {"scale": "ten"}, {"threshold": float("nan")}, {"threshold": True}])
def test_options_that_are_no_numbers_are_refused(options):
    with pytest.raises(PromptError, match=next(iter(options))):
        dcv.measure.templates_table(maps_on(WAYS["native"]), **options)


def test_a_threshold_without_masks_would_change_nothing_and_is_refused():
    with pytest.raises(PromptError, match="threshold=0.2 without masks"):
        dcv.measure.templates_table(maps_on(WAYS["native"]), threshold=0.2)


def test_templates_disagree_where_their_maps_do():
    maps = maps_on(WAYS["native"])
    spread = dcv.measure.disagreement(maps)
    assert spread.dims == ("prompt", "y", "x") and np.allclose(spread.values, maps.values.std(0))
    moved = maps.copy()
    moved[0] = maps[1] + 0.2
    assert (
        float(dcv.measure.disagreement(moved, centred=True).max())
        < 1e-12
        < float(dcv.measure.disagreement(moved).min())
    )
    assert spread.attrs["geometry"] == maps.attrs["geometry"]
    with pytest.raises(PromptError, match="One template only.*at least two"):
        dcv.measure.disagreement(maps.isel(template=[0]))
    with pytest.raises(PromptError, match="axes prompt, y, x"):
        dcv.measure.templates_table(maps[0])


def test_a_flat_map_is_correlated_with_nothing():
    """In single precision the mean of a flat map may be off by a rounding, which looks like a map."""
    flat, map_ = np.full((1, 196), 0.3, np.float32), np.linspace(0, 1, 196, dtype=np.float32)[None]
    assert np.isnan(correlation(flat, map_)).all() and np.isnan(correlation(flat, flat)).all()
    assert correlation(map_, map_)[0] == pytest.approx(1)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, 3.0)])
def test_cells_hold_the_pixels_that_were_seen_and_no_others(shift):
    where = replace(Native().plan((100, 200), preprocess=CLIP, cell=(8, 8)), shift=shift)
    (top, bottom), (left, right) = (where.sight(axis) for axis in (0, 1))
    areas = cell_areas(where)
    columns = np.diff(where.edges(1).clip(left, right))
    assert areas.sum() <= (bottom - top) * (right - left) + 1e-9 and np.allclose(
        areas[0] / areas[0, 0], columns / columns[0]
    )
