"""The ladder: rungs of one pass, mIoU of the data set against counts by hand, and what each switch gains."""

from dataclasses import fields

import numpy as np
import pytest
import torch
import xarray as xr
from contests import images, quietly

import denseclip_viz as dcv
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.paths import offers
from denseclip_viz.datasets.example import Example
from denseclip_viz.errors import ImageError, LayerError, OutputError, PromptError
from denseclip_viz.measure.bootstrap import small_sample_factor
from denseclip_viz.measure.rungs import RUNGS, difference

NAMES = ["a red car", "grass", "the sky"]
SAME = [DensePath("one", ("kk",), residual=False, mlp=False), DensePath("two", ("kk",), residual=False, mlp=False)]


@pytest.fixture(scope="module")
def tiny(load_tiny):
    return load_tiny("vit")


def parted(image):
    """Masks that share no pixel: three kinds of pixel, and some of none."""
    kind = image[..., 0] // 60
    return {name: kind == at for at, name in enumerate(NAMES)}


def pairs(count=4):
    return [(image, parted(image)) for image in images(count)]


class Labelled(list):
    classes = tuple(NAMES)


def climb(model, dataset=None, prompts=NAMES, paths=None, **options):
    return quietly(dcv.measure.ladder, model, dataset or pairs(), prompts, paths, **{"time": 0} | options)


@pytest.fixture(scope="module")
def climbed(tiny):
    return climb(tiny)


def test_rungs_go_from_the_value_path_up_and_each_switches_one_thing():
    switches = [field.name for field in fields(DensePath) if field.name != "name"]
    assert all(getattr(RUNGS[0], name) == getattr(DensePath("value"), name) for name in switches)
    for before, rung in zip(RUNGS, RUNGS[1:], strict=False):
        assert sum(getattr(before, name) != getattr(rung, name) for name in switches) == 1
        assert difference(before, rung)


def test_all_rungs_are_of_one_pass_an_image(tiny):
    tiny.trace(images(1)[0])  # the first trace checks the tower by a pass of its own
    runs = []
    hook = tiny.clip.visual.conv1.register_forward_hook(lambda *_: runs.append(1))
    climb(tiny, batch_size=4)
    hook.remove()
    assert len(runs) == 1


def test_miou_is_of_the_pixels_of_all_images_together(tiny, climbed):
    """Every rung traced alone and named by `segment`, counted by hand."""
    for rung in RUNGS:
        counts = np.zeros((3, 3), int)
        for image, masks in pairs():
            labels = tiny.segment(tiny.trace(image, path=rung), NAMES).labels.values
            for at, name in enumerate(NAMES):
                mask = masks[name]
                inside = labels[np.any(list(masks.values()), 0)]
                counts[at] += [(labels[mask] == at).sum(), mask.sum(), (inside == at).sum()]
        iou = counts[:, 0] / (counts[:, 1] + counts[:, 2] - counts[:, 0])
        assert climbed.iou.sel(rung=rung.name).values == pytest.approx(iou, abs=1e-12)
        assert climbed.miou.sel(rung=rung.name).item() == pytest.approx(iou.mean(), abs=1e-12)


def test_a_class_that_is_given_and_nowhere_true_counts_as_in_every_other_miou(tiny):
    """Of one without a pixel the ladder has what `evaluate_segmentation` has."""
    dataset = Labelled(Example("", image, labels=(image[..., 0] > 127).astype(np.uint8)) for image in images(3))
    climbed = climb(tiny, dataset, None)
    whole = quietly(dcv.measure.evaluate_segmentation, tiny, dataset)
    assert climbed.areas[:, 0, 2, 2].sum() > 0  # it is given
    assert climbed.iou[0, 2].item() == 0 == whole.iou[0, 2].item()
    assert climbed.miou[0].item() == pytest.approx(climbed.iou[0].values.mean(), abs=1e-12)


def test_the_change_is_how_far_each_prompts_map_turned_from_the_rung_before(tiny, climbed):
    for place, (image, _) in enumerate(pairs()):
        maps = tiny.similarity(tiny.trace(image, path=list(RUNGS)), NAMES)[:, 0].values.astype(float)
        for at in range(1, len(RUNGS)):
            cosines = [
                (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
                for a, b in zip(maps[at - 1], maps[at], strict=True)
            ]
            assert climbed.image_change.values[place, at] == pytest.approx(1 - np.mean(cosines), abs=1e-6)
    assert climbed.change.values == pytest.approx(climbed.image_change.values.mean(0), nan_ok=True)


def test_what_changes_in_padding_does_not_count(tiny):
    fit, dataset = dcv.Tiles(window=64, short=40), pairs(2)
    climbed = climb(tiny, dataset, paths=RUNGS[:3], geometry=fit)
    for place, (image, _) in enumerate(dataset):
        trace = tiny.trace(image, path=list(RUNGS[:3]), geometry=fit)
        assert not (seen := trace.geometry.in_sight).all()
        maps = tiny.similarity(trace, NAMES).values[:, 0][..., seen].astype(float)
        maps = maps / np.linalg.norm(maps, axis=-1, keepdims=True)
        by_hand = 1 - (maps[1:] * maps[:-1]).sum(-1).mean(-1)
        assert climbed.image_change.values[place, 1:] == pytest.approx(by_hand, abs=1e-6)


def test_intervals_draw_images_again_and_keep_them_paired(climbed):
    """The bootstrap by hand: whole images drawn, their pixels summed, divided, averaged over the classes drawn."""
    areas, rng = climbed.areas.values, np.random.default_rng(0)
    counts = rng.multinomial(len(areas), np.full(len(areas), 1 / len(areas)), size=2000)
    both, true, given = np.moveaxis(np.einsum("di,irca->drca", counts, areas), -1, 0)
    miou = np.nanmean(np.where(true > 0, both / np.maximum(true + given - both, 1), np.nan), -1)
    wide, gains = small_sample_factor(len(areas), 0.95), np.diff(miou)
    low, high = climbed.gain.values[1:] + wide * (np.quantile(gains, [0.025, 0.975], axis=0) - climbed.gain.values[1:])
    assert climbed.gain_low.values[1:] == pytest.approx(low) and climbed.gain_high.values[1:] == pytest.approx(high)
    assert climbed.gain.values[1:] == pytest.approx(np.diff(climbed.miou.values))
    assert ((climbed.miou_low <= climbed.miou) & (climbed.miou <= climbed.miou_high)).all()


def test_a_class_that_is_not_among_images_drawn_again_pulls_nothing_down(tiny):
    """One class stands in a single image: without it, it is not counted, while one that no image has is 0."""
    dataset = Labelled(Example("", image, labels=np.zeros(image.shape[:2], int)) for image in images(4))
    dataset[0].labels[:9] = 1
    climbed = climb(tiny, dataset, None)
    areas, rng = climbed.areas.values, np.random.default_rng(0)
    counts = rng.multinomial(4, np.full(4, 1 / 4), size=2000)
    both, true, given = np.moveaxis(np.einsum("di,irca->drca", counts, areas), -1, 0)
    assert (true[..., 1] == 0).any() and (given[..., 2] > 0).any() and not true[..., 2].any()
    iou = np.where(true > 0, both / np.maximum(true + given - both, 1), np.nan)
    iou[..., 2] = np.where(given[..., 2] > 0, 0, np.nan)
    low = np.quantile(np.nanmean(iou, -1), 0.025, axis=0)
    wide = climbed.miou.values + small_sample_factor(4, 0.95) * (low - climbed.miou.values)
    assert climbed.miou_low.values == pytest.approx(wide.clip(0))


def test_a_rung_that_switches_nothing_gains_nothing_surely(tiny):
    same = climb(tiny, paths=SAME)
    assert (same.gain[1], same.gain_low[1], same.gain_high[1]) == (0, 0, 0)
    assert same.change[1] == pytest.approx(0, abs=1e-12) and same.changed.values.tolist() == ["", ""]


def test_labels_and_masks_of_the_same_pixels_give_the_same(tiny, climbed):
    class Labelled(list):
        classes = ("red car", "grass", "sky")

    labels = [np.where(image[..., 0] // 60 < 3, image[..., 0] // 60, 255).astype(int) for image in images(4)]
    labelled = Labelled(
        Example("", image, labels=np.where(own == 255, -1, own)) for image, own in zip(images(4), labels, strict=True)
    )
    xr.testing.assert_equal(climb(tiny, labelled).areas.drop_vars("image"), climbed.areas.drop_vars("image"))


def test_the_classes_of_a_data_set_are_the_prompts_where_none_are_given(tiny):
    scenes = dcv.toyworld.dataset(2, "test", size=64)
    of_scenes = climb(tiny, scenes, None, ["value", "sclip"])
    assert of_scenes["class"].values.tolist() == list(scenes.classes) and "miou" in of_scenes


def test_absent_prompts_take_no_part(tiny):
    prompts = dcv.Prompts(NAMES, absent=["a giraffe"])
    # a product with another number of columns may end in other bits, depending on the processor
    xr.testing.assert_allclose(climb(tiny, prompts=prompts, paths=SAME), climb(tiny, paths=SAME), rtol=0, atol=1e-12)


def test_without_masks_there_are_changes_and_times_alone(tiny):
    plain = climb(tiny, images(3), time=2)
    assert set(plain.data_vars) == {"image_change", "change", "change_low", "change_high", "cost"}
    assert plain.cost.dims == ("turn", "rung") and plain.cost.shape == (2, len(RUNGS)) and (plain.cost > 0).all()
    table = dcv.measure.ladder_table(plain)
    assert list(table) == ["rung", "changed", "change", "change_low", "change_high", "cost"]
    assert table.cost.values == pytest.approx(np.median(plain.cost.values, 0))


def test_an_image_without_masks_among_others_says_nothing_of_miou(tiny, climbed):
    more = climb(tiny, [*pairs(), *images(1, (32, 32))])
    for name in ("miou", "miou_low", "gain", "gain_high"):
        assert more[name].values == pytest.approx(climbed[name].values, nan_ok=True)


def test_the_table_has_a_row_for_each_rung(climbed):
    table = dcv.measure.ladder_table(climbed)
    assert list(table.rung) == [rung.name for rung in RUNGS] and "cost" not in table
    assert table.miou.tolist() == climbed.miou.values.tolist()
    assert table.changed[1] == "mlp off" and "similar (9)" in table.changed[5]


def test_a_tower_gets_the_rungs_that_it_has_and_is_told_the_others(load_tiny):
    query = load_tiny("query")
    climbed = climb(query, images(2, (160, 160)))
    assert climbed.rung.values.tolist() == ["value", "no MLP"]
    assert climbed.attrs["not_offered"] == [rung.name for rung in RUNGS[2:]]
    assert all(offers(load_tiny("vit").tower, rung) for rung in RUNGS)


def test_a_tower_with_one_rung_alone_is_refused_with_what_it_has(load_tiny):
    with pytest.raises(LayerError, match="offers value. Expected at least two rungs.*of what this tower has: value"):
        climb(load_tiny("mean"), images(2, (96, 96)))


def test_a_resnet_climbs_its_own_paths(load_tiny):
    one_layer = climb(load_tiny("resnet"), images(2, (96, 96)))
    assert one_layer.rung.values.tolist() == ["value", "k·k", "+ Gaussian"]
    assert one_layer.changed.values.tolist() == ["", "attention kk", "gaussian 5"]  # and no residual, which it has not
    own = climb(load_tiny("resnet"), images(2, (96, 96)), paths=["value", "vanilla", "value-positional"])
    assert own.changed.values.tolist() == ["", "attention qk", "attention none, positional on"]


def test_a_run_goes_on_from_its_store_and_an_interrupt_keeps_what_was_done(tiny, tmp_path, climbed):
    def until(count):
        yield from pairs()[:count]
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="the 2 images until then"):
        part = dcv.measure.ladder(tiny, until(4), NAMES, time=0, store=tmp_path / "l", batch_size=2, progress=False)
    assert part.sizes["image"] == 2 and part.attrs["stopped"]
    whole = climb(tiny, store=tmp_path / "l", batch_size=2)
    xr.testing.assert_equal(whole.areas, climb(tiny, batch_size=2).areas)
    with pytest.raises(OutputError, match="candidates"):
        climb(tiny, paths=SAME, store=tmp_path / "l")


def test_the_model_stays_as_it_is(tiny):
    before = {name: tensor.clone() for name, tensor in tiny.clip.state_dict().items()}
    seed = torch.random.get_rng_state()
    climb(tiny, time=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.clip.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), seed)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny.clip.modules())


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"prompts": None}, PromptError, "names no classes"),
        ({"paths": ["value"]}, LayerError, "offers value. Expected at least two"),
        ({"paths": ["value", "value"]}, LayerError, "twice"),
        ({"time": -1}, LayerError, "time=-1"),
        ({"time": 1.5}, LayerError, "time=1.5"),
        ({"interval": 2}, PromptError, "interval=2"),
        ({"dataset": pairs(1)}, ImageError, "on one image"),
        ({"dataset": [*pairs(1), *images(2)]}, ImageError, "1 images whose masks show a prompt"),
        ({"dataset": [(image, {"a fox": np.ones((32, 32), bool)}) for image in images(2)]}, PromptError, "'a fox'"),
        ({"dataset": [(i, dict.fromkeys(NAMES, np.ones((32, 32), bool))) for i in images(2)]}, PromptError, "over an"),
        ({"dataset": [(image, {"grass": np.ones((32, 32))}) for image in images(2)]}, ImageError, "float64"),
        ({"dataset": [(image, {"grass": np.ones((9, 9), bool)}) for image in images(2)]}, ImageError, r"\(9, 9\)"),
    ],
)
def test_what_cannot_be_climbed_is_refused(tiny, options, error, said):
    with pytest.raises(error, match=said):
        climb(tiny, **options)
