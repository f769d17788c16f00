"""Where prompts compete: the two numbers against counting pixels, and what a template must pay for."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import denseclip_viz as dcv
from denseclip_viz.errors import PromptError
from denseclip_viz.geometry import Native, Preprocess, Whole

CLIP = Preprocess((32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
WAYS = {
    "native": Native().plan((32, 32), preprocess=CLIP, cell=(8, 8)),
    "cropped": Native().plan((32, 48), preprocess=CLIP, cell=(8, 8)),
    "padded": Whole().plan((32, 44), preprocess=CLIP, cell=(8, 8)),
}
PROMPTS = ["grass", "sky", "an oak", "a cow", "a giraffe"]  # of the oak there is none here, of the cow nobody knows
ABSENT = [False, False, False, False, True]


def maps_on(geometry, *, ties=False, seed=0, values=None):
    values = np.random.default_rng(seed).uniform(0.1, 0.4, (3, 5, *geometry.grid)) if values is None else values
    values = np.round(values, 1) if ties else values
    coords = {"template": [f"{at} {{}}" for at in range(len(values))], "prompt": PROMPTS, "absent": ("prompt", ABSENT)}
    attrs = {"geometry": geometry.to_json()}
    return xr.DataArray(values, dims=("template", "prompt", "y", "x"), coords=coords, attrs=attrs)


def masks_on(geometry, seed=1):
    """Grass and sky in blobs that do not keep to cells, and no oak."""
    height, width = geometry.image
    noise = np.random.default_rng(seed).normal(size=(height // 4 + 1, width // 4 + 1))
    blobs = np.kron(noise, np.ones((4, 4)))[1 : height + 1, 2 : width + 2]
    return {"grass": blobs > 0.5, "sky": blobs < -0.4, "an oak": np.zeros((height, width), dtype=bool)}


def pixels(array, geometry):
    """What flat cells say at every pixel that the model saw, one after the other."""
    top, left, bottom, right = (round(edge) for edge in geometry.visible)
    rows = np.searchsorted(geometry.edges(0), np.arange(top, bottom) + 0.5) - 1
    columns = np.searchsorted(geometry.edges(1), np.arange(left, right) + 0.5) - 1
    return array[np.ix_(rows, columns)].ravel()


def masked(mask, geometry):
    top, left, bottom, right = (round(edge) for edge in geometry.visible)
    return mask[top:bottom, left:right].ravel()


def counted(maps, masks, geometry):
    """Both numbers of one template, pixel after pixel and from their words alone."""
    values = {name: pixels(maps.sel(prompt=name).values, geometry) for name in PROMPTS}
    true = {name: masked(mask, geometry) for name, mask in masks.items()}
    true["a giraffe"] = np.zeros_like(true["grass"])
    found = {}
    for name in ("grass", "sky"):
        both = either = 0.0
        for at, here in enumerate(true[name]):
            highest = max(values[other][at] for other in PROMPTS)
            winners = [other for other in PROMPTS if values[other][at] == highest]
            won = (name in winners) / len(winners)
            both, either = both + won * here, either + won + here - won * here
        precisions = []
        for value in values[name][true[name]]:
            right = sum(int((true[other] & (values[other] >= value)).sum()) for other in true)
            precisions.append(right / sum(int((values[other] >= value).sum()) for other in true))
        found[name] = both / either, np.mean(precisions)
    return found


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_both_numbers_equal_counting_pixels(way, ties):
    geometry = WAYS[way]
    maps, masks = maps_on(geometry, ties=ties), masks_on(geometry)
    table = dcv.measure.templates_table(maps, masks).set_index(["template", "prompt"])
    for template in maps.template.values:
        for name, (won, shared) in counted(maps.sel(template=template), masks, geometry).items():
            assert table.loc[(template, name), "iou_won"] == pytest.approx(won)
            assert table.loc[(template, name), "shared_precision"] == pytest.approx(shared)
    assert table.loc[(slice(None), PROMPTS[2:]), ["iou_won", "shared_precision"]].isna().all(axis=None)


def test_alone_a_prompt_has_its_own_average_precision_and_the_order_of_prompts_changes_nothing():
    geometry = WAYS["native"]
    maps, masks = maps_on(geometry, ties=True), masks_on(geometry)
    alone = dcv.measure.templates_table(maps.sel(prompt=["sky"]), {"sky": masks["sky"]})
    assert alone["shared_precision"].to_numpy() == pytest.approx(alone["average_precision"].to_numpy())
    numbers, index = ["iou_won", "shared_precision"], ["template", "prompt"]
    one, other = (dcv.measure.templates_table(each, masks).set_index(index)[numbers] for each in (maps, maps[:, ::-1]))
    assert np.allclose(one, other.loc[one.index], equal_nan=True)


def test_a_template_pays_for_a_map_that_is_bad_as_a_whole_where_its_own_cells_cannot_tell():
    """Lifted, another class's, bright where the prompt is absent: average precision sees none of it."""
    geometry = WAYS["native"]
    masks = {name: np.zeros((32, 32), dtype=bool) for name in PROMPTS[:4]}
    masks["grass"][16:], masks["sky"][:12] = True, True
    good = np.full((5, 4, 4), 0.1) + 0.01 * np.arange(16).reshape(4, 4)
    good[0, 2:], good[1, :2] = 0.4, 0.4
    lifted, absent = good.copy(), good.copy()
    lifted[2] += 0.5  # an oak, which is nowhere here
    absent[4] += 0.5
    table = dcv.measure.templates_table(
        maps_on(geometry, values=np.stack([good, lifted, absent, good[[1, 0, 2, 3, 4]]])), masks
    )
    means = table.groupby("template")[["average_precision", "iou_won", "shared_precision"]].mean()
    assert means["average_precision"].iloc[:3].nunique() == 1
    for bad in (1, 2, 3):
        assert means["iou_won"].iloc[bad] < 0.1 < means["iou_won"].iloc[0]
        assert means["shared_precision"].iloc[bad] < means["shared_precision"].iloc[0] - 0.3


def test_what_a_template_adds_to_all_prompts_costs_only_where_one_threshold_serves_all():
    geometry = WAYS["native"]
    maps, masks = maps_on(geometry), masks_on(geometry)
    beside = maps.copy()
    beside[1:] = maps[0] + 0.5 * (np.arange(16).reshape(4, 4) % 5 == 0)  # another thing, alike in all maps
    table = dcv.measure.templates_table(beside, masks).query("prompt == 'sky'")
    assert table["iou_won"].iloc[0] == pytest.approx(table["iou_won"].iloc[1])
    assert table["shared_precision"].iloc[1] < table["shared_precision"].iloc[0]


def test_a_mask_that_shows_an_absent_prompt_is_refused_and_accents_may_be_written_either_way():
    geometry = WAYS["native"]
    maps, masks = maps_on(geometry), masks_on(geometry)
    with pytest.raises(PromptError, match="'a giraffe', which is marked absent"):
        dcv.measure.templates_table(maps, {"a giraffe": masks["sky"]})
    assert dcv.measure.templates_table(maps, {"a giraffe": masks["an oak"]})["iou_won"].isna().all()
    accents = maps.assign_coords(prompt=["caf\u00e9", *PROMPTS[1:]])
    table = dcv.measure.templates_table(accents, {"cafe\u0301": masks["grass"]})
    assert table.query("prompt == 'caf\u00e9'")["iou_won"].notna().all()
