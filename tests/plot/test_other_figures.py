"""Grids, layers, heads and segments: what each says and which scale it keeps."""

import fake_results
import numpy as np
import pytest
import xarray as xr
from drawn import everything_said, maps, texts, with_gid
from hypothesis import given
from hypothesis.extra import numpy as arrays
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from denseclip_viz import plot
from denseclip_viz.errors import ImageError, LayerError, PromptError
from denseclip_viz.plot.panels import placement
from denseclip_viz.plot.segments import shares_of, striped


@pytest.fixture(scope="module")
def both():
    return fake_results.comparison()


def test_a_grid_has_one_scale_or_says_that_it_has_none():
    values = fake_results.similarity()
    shared, each = plot.grid(values), plot.grid(values, normalise="each")
    images = maps(shared, "viridis", values.shape[2:])
    assert len(images) == values.shape[0] * values.shape[1]
    assert {image.get_clim() for image in images} == {(float(values.min()), float(values.max()))}
    assert "its own lowest" in everything_said(each) and "its own lowest" not in everything_said(shared)
    for image in maps(each, "viridis", values.shape[2:]):
        assert (image.get_array().min(), image.get_array().max()) == (0, 1)


def test_a_grid_puts_the_axes_where_they_were_asked_for():
    values = fake_results.similarity()
    turned = plot.grid(values, rows="prompt", cols="template", image=fake_results.image())
    arrays = [drawn.get_array() for drawn in maps(turned, "viridis", values.shape[2:])]
    expected = values.transpose("prompt", "template", "y", "x").values.reshape(-1, *values.shape[2:])
    assert (np.array(arrays) == expected).all()
    assert plot.grid(values.isel(template=0, prompt=0)).axes


def test_axes_go_by_their_names_and_not_by_their_order(tmp_path):
    both, named = fake_results.comparison(layers="resnet"), fake_results.segmentation()
    figures = {plot.compare: both, plot.heads: both, plot.layers: both, plot.grid: both.dense[:1], plot.segments: named}
    for at, (figure, result) in enumerate([*figures.items(), (None, named)]):
        turned, files = result.transpose(*reversed(list(result.dims))), []
        for which, one in enumerate((result, turned)):
            path = tmp_path / f"{at} {which}.png"
            files.append(plot.save(figure(one), path) if figure else plot.save_labels(one, path))
        assert files[0].read_bytes() == files[1].read_bytes(), at


def test_axes_in_the_place_of_a_figure_are_refused(both):
    with pytest.raises(ImageError, match="figure of type Axes"):
        plot.compare(both, figure=Figure().add_subplot())


def test_a_result_of_no_prompt_is_refused():
    nothing = fake_results.comparison().isel(prompt=[])
    with pytest.raises(PromptError, match="No prompt to show"):
        plot.compare(nothing)
    with pytest.raises(LayerError, match="prompt 0"):
        plot.grid(nothing.dense)


def test_a_grid_never_averages_an_axis_away():
    values = xr.concat([fake_results.similarity(), fake_results.similarity()], dim="layer", join="override")
    values.attrs = fake_results.similarity().attrs
    with pytest.raises(PromptError, match=r"'layer' of the maps has 2 values.*isel\(layer=0\)"):
        plot.grid(values)
    with pytest.raises(PromptError, match="no 'head'"):
        plot.grid(values, rows="head")


def attributed(**options):
    """Maps of two methods, one of them signed and in other units."""
    one = fake_results.similarity(**options)
    both = xr.concat(
        [one - one.mean(), (one - one.min()) / 1000], dim=xr.DataArray(["signed", "plain"], dims="candidate")
    )
    return both.assign_coords(unit=("candidate", ["cosine", "share"])).assign_attrs(one.attrs)


def test_attributions_have_a_row_and_a_scale_for_each_method():
    values = attributed()
    drawn = plot.attributions(values, template="a photo of {}.", image=fake_results.image())
    prompts, which = values.sizes["prompt"], list(values.template.values).index("a photo of {}.")
    signed, plain = (maps(drawn, colours, values.shape[3:]) for colours in ("RdBu_r", "viridis"))
    assert len(signed) == len(plain) == prompts
    reach = float(abs(values[0, which]).max())
    assert {image.get_clim() for image in signed} == {(-reach, reach)}
    assert {image.get_clim() for image in plain} == {(0.0, float(values[1, which].max()))}
    for image, expected in zip(plain, values[1, which].values, strict=True):
        assert (image.get_array() == expected).all()
    words = everything_said(drawn)
    assert all(word in words for word in ("a scale of its own", "signed", "share", "(absent)", "a photo of {}."))


@pytest.mark.parametrize("odd", [{"prompts": ("a red car",)}, {"prompts": (fake_results.LONG, "W" * 300)}])
def test_attributions_of_odd_prompts_are_drawn_in_whole(odd):
    drawn = plot.attributions(attributed(random_weights=1, **odd))
    assert "RANDOM WEIGHTS" in everything_said(drawn) and "within a row" in everything_said(drawn)


def test_attributions_refuse_what_has_no_methods():
    with pytest.raises(LayerError, match=r"attribution\.attribute"):
        plot.attributions(fake_results.similarity())
    with pytest.raises(PromptError, match="a giraff"):
        plot.attributions(attributed(), prompt="a giraff")


def along_paths(make=fake_results.similarity, names=("value", "sclip", "gem", "naclip", "mine")):
    """Maps of several paths, each higher than the one before."""
    one = make()
    several = [one if at == 0 else one + at / 10 for at in range(len(names))]
    return xr.concat(several, dim=xr.DataArray(list(names), dims="path")).assign_attrs(one.attrs)


def test_paths_are_drawn_in_two_rows_on_one_scale():
    values = along_paths()
    drawn = plot.paths(values, prompt="grass", template="{}", image=fake_results.image())
    expected = values.sel(prompt="grass", template="{}")
    images = maps(drawn, "viridis", values.shape[3:])
    assert (np.array([image.get_array() for image in images]) == expected.values).all()
    assert {image.get_clim() for image in images} == {(float(expected.min()), float(expected.max()))}
    heads = {text.get_text(): text.get_position() for text in drawn.texts}
    assert len({heads[name][1] for name in ("value", "sclip", "gem")}) == 1 > heads["naclip"][1]
    assert heads["value"][0] == heads["naclip"][0] and "grass" in heads
    assert "template “{}” (3 of 3)" in everything_said(drawn) and "value path" not in everything_said(drawn)


@pytest.mark.parametrize("axes", [{"rows": "path", "cols": "prompt"}, {"rows": "prompt", "cols": "path"}])
def test_a_grid_of_paths_names_them_at_their_maps_and_the_weights_below(axes):
    values = along_paths()[..., :1, :1, :, :]
    values = values.assign_attrs(path=", ".join(map(str, values.path.values)), weights_hash="0123456789ab")
    texts = [text.get_text() for text in plot.grid(values, **axes).texts]
    assert set(map(str, values.path.values)) <= set(texts)
    assert "weights" in texts[-1] and "01234567" in texts[-1] and "path" not in texts[-1] and "…" not in texts[-1]


def test_paths_of_a_comparison_lie_on_its_image_and_say_what_is_absent():
    both = fake_results.comparison()
    both = both.assign(dense=along_paths(lambda: both.dense))
    assert len(plot.paths(both).axes) == 1 + 5
    assert all(len(ax.images) == 2 for ax in plot.paths(both).axes[1:])  # the image, and the map over it
    assert "a giraffe (absent)" in texts(plot.paths(both, prompt="a giraffe"))


def test_paths_may_be_stretched_each_if_the_figure_says_so():
    drawn = plot.paths(along_paths(), normalise="each", rows=1)
    assert "its own lowest" in everything_said(drawn)
    assert {image.get_clim() for image in maps(drawn, "viridis", along_paths().shape[3:])} == {(0, 1)}


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"maps": fake_results.similarity()}, LayerError, "without an axis path.*Trace with path="),
        ({"maps": fake_results.comparison()}, LayerError, "without an axis path"),
        ({"prompt": "a fox"}, PromptError, "'a fox' is not in this result"),
        ({"template": "a fox"}, PromptError, "'a fox' is not in this result"),
        ({"rows": 0}, ImageError, "rows=0"),
        ({"normalise": "all"}, ImageError, "normalise"),
    ],
)
def test_paths_that_cannot_be_drawn_are_refused(options, error, said):
    with pytest.raises(error, match=said):
        plot.paths(**{"maps": along_paths(), **options})


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_layers_say_their_reading_and_keep_one_scale_where_cells_are_alike(kind):
    both = fake_results.comparison(layers=kind)
    drawn = plot.layers(both)
    assert both.attrs["layer_readout"] in texts(drawn)
    assert all(texts(drawn).count(str(layer)) >= 1 for layer in both.layer.values)
    if kind == "vit":
        assert len({image.get_clim() for image in maps(drawn, "viridis", both.dense.shape[2:])}) == 1
        lines = with_gid(drawn, "layer_score")
        assert np.allclose([line.get_ydata() for line in lines], both.layer_score.values[:, 0].T)
        assert np.allclose(with_gid(drawn, "layer_agreement")[0].get_ydata(), both.layer_agreement)
    else:
        images = maps(drawn, "RdBu_r", both.layer_dense_gradient.shape[3:])
        assert len(images) == 2 * 5 * 4 and len({image.get_clim() for image in images}) == 2 * 5


def test_a_layer_that_says_next_to_nothing_looks_empty():
    both = fake_results.comparison(layers="resnet")
    noise = both.layer_dense_gradient.isel(layer=-1) * 1e-4
    both["layer_dense_gradient"][{"layer": -1}] = noise
    last = maps(plot.layers(both), "RdBu_r", noise.shape[2:])[-1]
    assert last.get_clim()[1] > 20 * float(np.abs(noise).max())
    highest = f"±{float(np.abs(noise).max()):.4f}"
    for name, said in (("layer4", f"highest {highest}"), ("the last layer", f"≤ {highest}")):
        drawn = plot.layers(both.assign_coords(layer=[*both.layer.values[:-1], name]))
        named, reach = (next(t for t in drawn.texts[::-1] if t.get_text() == text) for text in (name, said))
        renderer = FigureCanvasAgg(drawn).get_renderer()
        assert named.get_window_extent(renderer).x1 < reach.get_window_extent(renderer).x0


def test_each_block_of_gradients_is_headed_by_the_score_that_it_explains():
    both = fake_results.comparison(layers="resnet")
    said = everything_said(plot.layers(both, prompt="grass"))
    one = both.sel(prompt="grass", template=both.template[0])
    assert f"grass · {float(one.score):.3f}" in said and f"grass · {float(one.dense.mean()):.3f}" in said


def test_one_prompt_of_the_layers_has_one_row():
    both = fake_results.comparison(layers="vit")
    assert len(maps(plot.layers(both, prompt="grass"), "viridis", both.dense.shape[2:])) == 12


def test_a_comparison_without_layers_says_how_to_get_them(both):
    with pytest.raises(LayerError, match='layers="all"'):
        plot.layers(both)


def test_heads_come_after_their_mean_on_one_scale_with_their_shares(both):
    drawn = plot.heads(both)
    images = maps(drawn, "magma", both.attention.shape)
    assert len(images) == 1 + both.sizes["head"] and len({image.get_clim() for image in images}) == 1
    assert np.allclose(images[0].get_array(), both.attention)
    assert "head 7 · 90%" in texts(drawn) and "60% of the weight goes to positions, 40% to the mean token" in texts(
        drawn
    )


def test_heads_of_a_pool_without_a_token_are_not_said_to_share_with_one(both):
    alike = xr.full_like(both.attention_heads[:1], 1 / both.attention.size)
    mean = both.drop_dims(["head", "term"]).assign(attention_heads=alike).assign_coords(term=["bias"])
    assert "all of the weight goes to positions, alike: this pool is a plain mean" in texts(plot.heads(mean))
    query = both.drop_dims("term").assign_coords(term=["bias", "mlp"])
    assert "all of the weight goes to positions" in texts(plot.heads(query))


def test_a_legend_lists_what_is_there_with_shares_of_what_was_seen():
    result = fake_results.segmentation(mode="native")
    said = texts(plot.segments(result))
    assert {"car", "grass", "sky", "sun"} <= set(said) and "giraffe" not in said
    assert result.attrs["background"] in said
    where = placement(result)
    shares = shares_of(result.labels.values, where)
    top, left, bottom, right = (round(edge) for edge in where.visible)
    seen = result.labels.values[top:bottom, left:right]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares[0] == pytest.approx((seen == 0).mean()) and f"{shares[0]:.0%}" in said


def test_background_is_left_as_it_is_and_labels_have_their_colour():
    result = fake_results.segmentation()
    result["labels"][:] = -1
    clear = plot.segments(result).axes[0].images[0].get_array()
    assert (clear == result.image.values).all()
    result["labels"][:] = 2
    covered = np.asarray(plot.segments(result).axes[0].images[0].get_array(), dtype=float)
    green = np.array(to_rgb("#009e73"))
    assert np.corrcoef(covered.mean((0, 1)), green)[0, 1] > 0.99


def test_independent_masks_are_all_drawn_and_counted_where_they_overlap():
    result = fake_results.segmentation()
    masks = np.zeros((result.sizes["label"], *result.labels.shape), bool)
    masks[0], masks[2, :, : masks.shape[2] // 2] = True, True
    result = result.assign(masks=(("label", "row", "column"), masks))
    figure = plot.segments(result)
    said = texts(figure)
    names = result.label.values
    assert said[said.index(names[0]) + 1] == "100%" and said[said.index(names[2]) + 1] == "50%"
    assert "no label" not in said and any("striped where several prompts are" in text for text in said)
    drawn = np.asarray(figure.axes[0].images[0].get_array(), dtype=float)
    left, right = np.split(drawn, 2, axis=1)
    assert left[:, :, 1].std() > 2 * right[:, :, 1].std()  # stripes on the left alone


@given(masks=arrays.arrays(bool, (3, 7, 9)))
def test_striped_pixels_have_one_of_their_own_masks(masks):
    labels = striped(masks)
    assert ((labels < 0) == ~masks.any(0)).all()
    assert np.take_along_axis(masks, np.maximum(labels, 0)[None], 0)[0][labels >= 0].all()


def test_labels_larger_than_the_image_are_drawn_over_all_of_it():
    result = fake_results.segmentation()
    large = result.labels.values.repeat(8, 0).repeat(8, 1)
    big = result.drop_vars(["labels", "probability"]).assign(labels=(("row", "column"), large))
    image = plot.segments(big).axes[0].images[0]
    assert max(image.get_array().shape) <= 1200 and tuple(image.get_extent()) == (-0.5, 359.5, 239.5, -0.5)


def test_a_coarse_layer_is_drawn_in_its_own_cells_beside_finer_ones():
    both = fake_results.comparison(layers="resnet")
    fine = both["layer_dense_gradient"].copy()
    coarse = fine[4, ..., ::4, ::4]
    fine[4] = np.repeat(np.repeat(coarse, 4, -2), 4, -1)
    cells = [fine[0, 0, 0].size] * 4 + [coarse[0, 0].size]
    drawn = plot.layers(both.assign(layer_dense_gradient=fine, layer_cells=("layer", cells)))
    assert len(maps(drawn, "RdBu_r", coarse.shape[2:])) == both.sizes["prompt"]
