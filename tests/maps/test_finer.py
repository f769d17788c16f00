"""Dense features on a finer grid: equal to loops written from the papers, and taken by all that takes a trace."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import denseclip_viz as dcv
from denseclip_viz.clip.forward import ForwardOptions, decompose_checked
from denseclip_viz.errors import GeometryError, LayerError, PromptError
from denseclip_viz.maps import guided, shifted, upsampled
from denseclip_viz.maps.finer import guided_filter

PROMPTS = ["a red car", "grass"]


def repeated(image, dense):
    return dense.repeat_interleave(4, -1).repeat_interleave(4, -2)


@pytest.fixture
def vit(load_tiny):
    return load_tiny("vit", dtype="fp64")


@pytest.fixture
def trace(vit, image_file):
    return vit.trace(image_file, geometry=dcv.Whole(short=48))


def guided_loops(coarse, fine, maps, radius, epsilon):
    """Equations 10 to 12 of He et al. for a guide of colours, and the last line of algorithm 2 of the fast filter."""
    _, height, width = maps.shape
    slopes, offsets = np.zeros((len(maps), 3, height, width)), np.zeros(maps.shape)
    for y in range(height):
        for x in range(width):
            rows, columns = (slice(max(0, at - radius), at + radius + 1) for at in (y, x))
            colours = coarse[:, rows, columns].reshape(3, -1)
            spread = np.cov(colours, bias=True) + epsilon * np.eye(3)
            for c, values in enumerate(maps[:, rows, columns].reshape(len(maps), -1)):
                together = (colours * values).mean(1) - colours.mean(1) * values.mean()
                slopes[c, :, y, x] = np.linalg.inv(spread) @ together
                offsets[c, y, x] = values.mean() - slopes[c, :, y, x] @ colours.mean(1)

    def averaged(values):
        out = np.zeros_like(values)
        for y in range(height):
            for x in range(width):
                rows, columns = (slice(max(0, at - radius), at + radius + 1) for at in (y, x))
                out[..., y, x] = values[..., rows, columns].mean((-2, -1))
        return out

    def drawn(values):
        factor = fine.shape[1] // height
        out = np.zeros((*values.shape[:-2], *fine.shape[1:]))
        for y in range(fine.shape[1]):
            for x in range(fine.shape[2]):
                v, u = ((at + 0.5) / factor - 0.5 for at in (y, x))
                v, u = min(max(v, 0), height - 1), min(max(u, 0), width - 1)
                a, b = min(int(v), height - 1), min(int(u), width - 1)
                c, d = min(a + 1, height - 1), min(b + 1, width - 1)
                top = (1 - (u - b)) * values[..., a, b] + (u - b) * values[..., a, d]
                low = (1 - (u - b)) * values[..., c, b] + (u - b) * values[..., c, d]
                out[..., y, x] = (1 - (v - a)) * top + (v - a) * low
        return out

    return (drawn(averaged(slopes)) * fine).sum(1) + drawn(averaged(offsets))


@pytest.mark.parametrize(("radius", "epsilon"), [(1, 0.01), (2, 0.5)])
def test_the_guided_filter_is_the_loops_of_its_papers(radius, epsilon):
    rng = np.random.default_rng(0)
    coarse, fine, maps = rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 12, 15)), rng.normal(size=(2, 4, 5))
    tensors = (torch.from_numpy(array)[None] for array in (coarse, fine, maps))
    own = guided_filter(*tensors, radius=radius, epsilon=epsilon)[0].numpy()
    np.testing.assert_allclose(own, guided_loops(coarse, fine, maps, radius, epsilon), rtol=1e-10, atol=1e-10)


def test_guided_features_follow_an_edge_that_bilinear_ones_blur(trace):
    wide = torch.zeros_like(trace.pixels)
    wide[:, :, 20:] = 1.0  # an edge in the middle of a cell of 8
    cells = torch.zeros_like(trace.dense)
    cells[:, 3:] = 1.0
    cells[:, 2] = 0.5
    sharp = guided(replace(trace, pixels=wide, dense=cells), factor=4, epsilon=1e-4).dense
    assert float(sharp[:, :10].max()) < 0.1 and float(sharp[:, 10:].min()) > 0.9


@pytest.mark.parametrize("kind", ["resnet", "vit", "mean"])
def test_shifted_features_are_those_of_the_moved_input_cell_by_cell(load_tiny, image_file, kind):
    model = load_tiny(kind)
    trace = model.trace(image_file)
    fine, (height, width) = shifted(model, trace), trace.geometry.cell
    image = trace.pixels.numpy()
    for i, down in ((0, -height // 4), (1, height // 4)):
        for j, right in ((0, -width // 4), (1, width // 4)):
            rows = (np.arange(image.shape[1]) + down).clip(0, image.shape[1] - 1)
            columns = (np.arange(image.shape[2]) + right).clip(0, image.shape[2] - 1)
            moved = torch.from_numpy(image[:, rows][:, :, columns])[None]
            alone = decompose_checked(model.tower, moved, ForwardOptions()).dense[0]
            assert float((fine.dense[i::2, j::2] - alone).abs().max()) < 1e-4 * float(alone.abs().max())
    assert fine.geometry.grid == tuple(2 * cells for cells in trace.geometry.grid)
    step = fine.geometry.y[1] - fine.geometry.y[0]
    assert np.isclose(fine.geometry.y[:2].mean(), trace.geometry.y[0]) and np.isclose(
        2 * step, trace.geometry.y[1] - trace.geometry.y[0]
    )


def test_one_fine_cell_a_cell_is_the_trace_itself(vit, trace):
    same = shifted(vit, trace, factor=1)
    torch.testing.assert_close(same.dense, trace.dense, rtol=1e-10, atol=1e-10)
    assert same.geometry == trace.geometry


def test_whatever_takes_a_trace_takes_a_finer_one_and_its_provenance_says_so(vit, trace):
    for fine in (guided(trace), shifted(vit, trace), upsampled(trace, repeated)):
        assert fine.geometry.grid == tuple(fine.dense.shape[:2]) > trace.geometry.grid
        maps = vit.similarity(fine, PROMPTS)
        assert maps.shape[-2:] == fine.geometry.grid and maps.attrs["finer"] == fine.provenance["finer"]
        segmented = vit.segment(fine, PROMPTS)
        assert segmented.labels.shape == trace.geometry.image
        with pytest.raises(LayerError, match="contributions"):
            vit.compare(fine, PROMPTS)
    blocks = vit.similarity(upsampled(trace, repeated), PROMPTS).values
    np.testing.assert_allclose(blocks[..., ::4, ::4], vit.similarity(trace, PROMPTS), atol=1e-12)


def test_paths_keep_their_axis(vit, image_file):
    trace = vit.trace(image_file, path=["value", "vanilla"])
    for fine in (guided(trace), shifted(vit, trace), upsampled(trace, repeated)):
        one = vit.trace(image_file, path="vanilla")
        again = {"guided": guided, "shifted": lambda t: shifted(vit, t)}.get(
            fine.provenance["finer"].split(",")[0], lambda t: upsampled(t, repeated)
        )(one)
        torch.testing.assert_close(fine.with_path("vanilla").dense, again.dense, rtol=1e-9, atol=1e-9)


def test_an_upsampler_may_be_a_module_and_learns_nothing(trace):
    layer = torch.nn.Upsample(scale_factor=2, mode="bilinear").double()
    fine = upsampled(trace, lambda image, dense: layer(dense), name="AnyUp")
    assert fine.provenance["finer"] == "AnyUp" and not fine.dense.requires_grad
    assert upsampled(trace, repeated).provenance["finer"] == "repeated"


@pytest.mark.parametrize(
    ("upsampler", "error"),
    [
        ("bilinear", LayerError),
        (lambda image, dense: None, LayerError),
        (lambda image, dense: dense[0], LayerError),
        (lambda image, dense: dense * float("nan"), LayerError),
        (lambda image, dense: dense[:, 1:], LayerError),
        (lambda image, dense: torch.nn.functional.interpolate(dense, size=(7, 7)), GeometryError),
        (lambda image, dense: torch.nn.functional.interpolate(dense, scale_factor=3), GeometryError),
    ],
)
def test_an_upsampler_that_gives_something_else_is_refused(trace, upsampler, error):
    with pytest.raises(error):
        upsampled(trace, upsampler)


def test_what_cannot_be_made_finer_says_why(vit, trace, image_file):
    tiles = vit.trace(image_file, geometry="tiles")
    for make in (guided, lambda t: shifted(vit, t), lambda t: upsampled(t, repeated)):
        with pytest.raises(LayerError, match="tiles"):
            make(tiles)
        with pytest.raises(LayerError, match="pixels"):
            make(vit.trace(image_file, keep="dense"))
    for options in ({"factor": 3}, {"factor": 0}, {"radius": 0}, {"epsilon": 0}):
        with pytest.raises(GeometryError):
            guided(trace, **options)
    with pytest.raises(GeometryError, match="whole pixels"):
        shifted(vit, trace, factor=8)


def test_segment_draws_on_the_grid_that_is_asked_for(vit, trace, image_file):
    for finer, way in {"guided": guided, "shifted:4": lambda t: shifted(vit, t, factor=4)}.items():
        asked = vit.segment(image_file, PROMPTS, geometry=dcv.Whole(short=48), finer=finer)
        np.testing.assert_array_equal(asked.labels, vit.segment(way(trace), PROMPTS).labels)
        np.testing.assert_array_equal(asked.labels, vit.segment(trace, PROMPTS, finer=finer).labels)
        assert asked.attrs["finer"].startswith(finer.partition(":")[0])
    with pytest.raises(GeometryError, match="2 finer grids: guided, shifted. Expected one"):
        vit.segment(trace, PROMPTS, finer=["guided", "shifted"])
    with pytest.raises(PromptError, match="smoothed by keys"):
        vit.segment(image_file, PROMPTS, finer="guided", smooth="cosine")
