"""Independent masks on the page: a pixel has every name whose mask holds it, or none, as NumPy says."""

import fake_results
import numpy as np

from denseclip_viz.geometry import Geometry, upsample
from denseclip_viz.plot.scales import label_colour
from denseclip_viz.plot.segments import striped


def masks_of(pixels, prompts):
    """Which colours stand near each pixel: owners of a place take turns, so all of them are near."""
    found = []
    for number in range(prompts):
        here = np.abs(pixels.astype(int) - np.round(255 * np.array(label_colour(number)))).max(-1) <= 1
        padded = np.pad(here, 64)
        found.append(np.any([np.roll(padded, shift, axis=1)[64:-64, 64:-64] for shift in range(-64, 65)], axis=0))
    return np.array(found)


def test_a_pixel_has_every_name_above_the_absent_prompts_or_none(show):
    both = fake_results.comparison(prompts=fake_results.MANY[:5])
    shown = show(both, view="masks", opacity=1)
    pixels = shown.pixels()
    full = upsample(both.dense[0].to_numpy(), Geometry.from_json(both.attrs["geometry"]), *pixels.shape[:2])
    absent = both.absent.to_numpy()
    owned = full[~absent] > both.dense[0].to_numpy()[absent].max()
    assert (owned.sum(0) > 1).any() and (owned.sum(0) == 0).any()
    drawn, turn = masks_of(pixels, (~absent).sum()), striped(owned)
    inks = np.round(255 * np.array([label_colour(i) for i in range(len(owned))]))[turn]
    plain = (turn >= 0) & ~(pixels == 255).all(-1)  # all but the white lines
    assert (np.abs(pixels - inks).max(-1) <= 1)[plain].mean() > 0.999 and plain.sum() > 0.98 * (turn >= 0).sum()
    assert (drawn | ~owned)[:, (owned.sum(0) > 0)].mean() > 0.98
    inked = (pixels != pixels.max(-1, keepdims=True)).any(-1)
    assert not (inked & ~drawn.any(0) & (owned.sum(0) > 0)).mean() > 0.02
    told = [int(text.strip("%")) for text in shown.root.locator(".dcv-share").all_text_contents()]
    shares = [*100 * owned.mean((1, 2)), *np.zeros(absent.sum())]
    assert np.abs(np.array(told) - shares).max() < 1
    assert "a place may have several names, or none" in shown.root.locator(".dcv-caption").text_content()


def test_a_cell_says_all_its_names(show):
    both = fake_results.comparison(prompts=fake_results.MANY[:5])
    shown, grid = show(both, view="masks"), Geometry.from_json(both.attrs["geometry"]).grid
    absent = both.absent.to_numpy()
    above = both.dense[0].to_numpy()[~absent] > both.dense[0].to_numpy()[absent].max()
    y, x = map(int, np.argwhere(above.sum(0) > 1)[0])
    shown.point(y, x, grid)
    names = ", ".join(both.prompt.to_numpy()[~absent][above[:, y, x]])
    assert shown.root.locator(".dcv-where").text_content() == f"row {y}, column {x} · {names}"


def test_without_an_absent_prompt_there_is_no_cut_and_no_such_view(show):
    shown = show(fake_results.comparison(absent=[False] * 4))
    assert shown.root.locator(".dcv-view option").all_text_contents()[-1] == "segments"


def test_masks_of_a_segmentation_come_first_and_overlap(show):
    segmentation = fake_results.segmentation()
    masks = np.stack([segmentation.labels.to_numpy() == i for i in range(segmentation.sizes["label"])])
    masks[1] |= masks[0]
    shown = show(segmentation.assign(masks=(("label", "row", "column"), masks)), opacity=1)
    assert shown.root.locator(".dcv-caption b").text_content() == "masks"
    told = [int(text.strip("%")) for text in shown.root.locator(".dcv-share").all_text_contents()]
    assert np.abs(np.array(told) - 100 * masks.mean((1, 2))).max() < 1
    drawn = masks_of(shown.pixels(), len(masks))
    rows, columns = ((np.arange(n) + 0.5) * m / n for n, m in zip(drawn.shape[1:], masks.shape[1:], strict=True))
    large = masks[:, rows.astype(int)][:, :, columns.astype(int)]
    assert (drawn | ~large)[:, large.any(0)].mean() > 0.98
    shown.root.locator(".dcv-view").select_option("segments")
    shown.wait("n.querySelector('.dcv-caption b').textContent === 'segments'")
