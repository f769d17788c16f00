"""ALIGN, loaded as a user would: everything that transformers says of the same weights, taken apart exactly."""

from __future__ import annotations

import align_models
import numpy as np
import oracle
import pytest
import tiny
import torch
from PIL import Image
from state import fingerprint
from transformers import AlignModel, AutoTokenizer

import denseclip_viz as dcv
from denseclip_viz.clip.forward import TOLERANCE, ForwardOptions, decompose
from denseclip_viz.clip.text.encode import encode_texts
from denseclip_viz.clip.towers import logit_scale

TEXTS = ["a red car", "grass", "a photo of a giraffe."]
NAMES = {"float32": torch.float32, "float64": torch.float64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return align_models.write(tmp_path_factory.mktemp("models") / "tiny-align")


@pytest.fixture(params=NAMES)
def both(request, folder):
    """Our model and transformers' own, in one precision."""
    theirs = AlignModel.from_pretrained(folder).eval().to(NAMES[request.param])
    return dcv.load(str(folder), device="cpu", dtype=NAMES[request.param]), theirs


@pytest.fixture
def model(folder):
    return dcv.load(f"align:{folder}", device="cpu")


@pytest.fixture
def softmax_as_exact_as_the_model(monkeypatch):
    """transformers computes BERT's softmax in fp32; without that, fp64 is fp64 all the way."""
    plain = torch.nn.functional.softmax
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, dtype=None, **_: plain(x, dim=dim))


def image(height=120, width=180, seed=0):
    smooth = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC)


def own_pixels(image, dtype=torch.float32):
    made = align_models.PIL_PROCESSOR(**align_models.IMAGES)(image, return_tensors="np")["pixel_values"]
    return torch.from_numpy(np.asarray(made)).to(dtype)


def own_words(folder, texts, *, padding="max_length"):
    return AutoTokenizer.from_pretrained(folder)(texts, padding=padding, max_length=16, return_tensors="pt")


def pooled(found):
    return getattr(found, "pooler_output", found)  # a tensor by itself before version 5


def test_an_image_is_what_transformers_makes_of_it_from_its_own_pixels(both):
    model, theirs = both
    trace, dtype = model.trace(image()), next(theirs.parameters()).dtype
    with torch.no_grad():
        features = pooled(theirs.get_image_features(own_pixels(image(), dtype)))[0]
    assert torch.equal(trace.pixels, own_pixels(image())[0])
    assert oracle.relative_error(trace.global_embedding.numpy(), features.numpy()) <= TOLERANCE[dtype]
    plain = model.encode_image(own_pixels(image(), dtype))[0]
    assert oracle.relative_error(plain.numpy(), features.numpy()) <= TOLERANCE[dtype]
    assert trace.geometry.grid == (3, 3) and trace.global_embedding.shape == (80,)


@pytest.mark.parametrize("geometry", ["native", "whole", "tiles", dcv.Whole(short=150), dcv.Tiles(long=260)])
def test_contributions_alone_are_the_embedding_in_every_geometry(both, geometry):
    model, theirs = both
    trace = model.trace(image(), geometry=geometry)
    total = trace.contributions.sum((0, 1)).numpy()
    assert oracle.relative_error(total, trace.global_embedding.numpy()) <= TOLERANCE[next(theirs.parameters()).dtype]
    assert list(trace.rest) == ["bias"] and not trace.rest["bias"].any()


def test_the_dense_feature_is_the_pooled_answer_when_the_mean_takes_one_position_alone(both, monkeypatch):
    """A slow second way: the whole tower of transformers again for every position, its pool forced onto it."""
    model, theirs = both
    trace, dtype = model.trace(image(), geometry="whole"), next(theirs.parameters()).dtype
    rows, columns = trace.geometry.grid
    assert (rows, columns) == (4, 5)
    for y in range(rows):
        for x in range(columns):
            with monkeypatch.context() as patch, torch.no_grad():
                patch.setattr(torch.nn.functional, "avg_pool2d", lambda z, *_, y=y, x=x: z[..., y : y + 1, x : x + 1])
                alone = pooled(theirs.get_image_features(trace.pixels[None].to(dtype)))[0]
            assert oracle.relative_error(trace.dense[y, x].numpy(), alone.numpy()) <= TOLERANCE[dtype]


def test_the_gap_has_one_cause_the_length_of_a_positions_vector(both):
    model, theirs = both
    compared = model.compare(trace := model.trace(image()), TEXTS)
    lengths, whole = trace.dense.norm(dim=-1).numpy(), float(trace.global_embedding.norm())
    assert np.ptp(lengths) > 0.1 * lengths.mean()
    tolerance = 1e-5 if next(theirs.parameters()).dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(compared.contribution, compared.dense * lengths / (9 * whole), atol=tolerance)
    np.testing.assert_allclose(compared.attention, np.full((3, 3), 1 / 9), rtol=1e-6)
    np.testing.assert_allclose(compared.global_vs_mean_dense, 1, atol=tolerance)


def test_a_text_is_what_transformers_makes_of_it(both, folder, softmax_as_exact_as_the_model):
    model, theirs = both
    words, dtype = own_words(folder, TEXTS), next(theirs.parameters()).dtype
    with torch.no_grad():
        features = pooled(theirs.get_text_features(**words))
        ours = model.clip.encode_text(model.tokenizer(TEXTS))
    assert torch.equal(model.tokenizer(TEXTS), words.input_ids)
    assert oracle.relative_error(ours.numpy(), features.numpy()) <= TOLERANCE[dtype]


def test_trimmed_texts_equal_texts_at_the_full_context(folder, softmax_as_exact_as_the_model):
    model = dcv.load(str(folder), device="cpu", dtype="fp64")
    seen = []
    model.clip.text_model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[1]))
    with torch.no_grad():
        alone = torch.cat([model.clip.encode_text(model.tokenizer([text])) for text in TEXTS])
        words = own_words(folder, TEXTS)
        full = model.clip.text_model(**words)[0][:, 0]
        full = model.clip.text_projection(full)
    assert seen == [5, 3, 8, 16]
    assert (alone - full).abs().max() <= 1e-12
    batch = encode_texts(model.clip, model.tokenizer, TEXTS, batch_size=2)
    assert (batch - torch.nn.functional.normalize(full, dim=-1)).abs().max() <= 1e-12


def test_logits_are_transformers_own(both, folder, softmax_as_exact_as_the_model):
    model, theirs = both
    dtype = next(theirs.parameters()).dtype
    with torch.no_grad():
        logits = theirs(**own_words(folder, TEXTS), pixel_values=own_pixels(image(), dtype)).logits_per_image
    compared = model.compare(image(), TEXTS)
    ours = model.logit_scale * compared.score.values
    assert oracle.relative_error(ours, logits.numpy()) <= (1e-12 if dtype == torch.float64 else 1e-5)
    assert abs(model.logit_scale * 0.07 - 1) < 1e-6
    shares = model.classify(image(), TEXTS).values
    np.testing.assert_allclose(shares, logits.softmax(-1).numpy(), atol=1e-5)


def test_without_a_stand_in_for_its_softmax_fp64_texts_are_exact_to_fp32(folder):
    model = dcv.load(str(folder), device="cpu", dtype="fp64")
    with torch.no_grad():
        full = pooled(AlignModel.from_pretrained(folder).eval().double().get_text_features(**own_words(folder, TEXTS)))
    assert (model.encode_text(TEXTS) - torch.nn.functional.normalize(full, dim=-1)).abs().max() < 1e-6


def test_every_call_leaves_the_model_as_it_was(model):
    before = fingerprint(model.clip)
    trace = model.trace(image(), layers="*")
    model.compare(trace, TEXTS, layers="all")
    model.similarity(image(), TEXTS)
    model.segment(image(), TEXTS, geometry="tiles", background=0.5)
    model.classify(trace, TEXTS)
    assert dcv.attribution.attribute(model, trace, TEXTS).shape[:3] == (2, 1, 3)
    with model.record("stages.*", "pool.input") as seen:
        model.encode_image(trace.pixels[None])
    with pytest.raises(dcv.DenseclipVizError):
        model.compare(trace, ["a car [PAD]"])
    assert len(seen) == 8 and fingerprint(model.clip) == before


def test_layers_are_read_by_gradients_and_drawn_where_each_layers_cells_see(model):
    compared = model.compare(image(), TEXTS[:2], layers="all")
    assert compared.layer.values.tolist() == ["stem", *(f"stages.{i}" for i in range(7))]
    assert compared.attrs["layer_readout"].startswith("gradient")
    last = compared.layer_global_gradient.isel(layer=-1).sum(("fine_y", "fine_x")) / (48 * 48 / 9)
    np.testing.assert_allclose(last, 0, atol=1e-5)  # a cosine does not change with the length of the embedding
    np.testing.assert_allclose(compared.layer_shift[:, 0], [0.5, 0.5, 1.5, 3.5, 7.5, 7.5, 15.5, 15.5])
    panels = dcv.plot.layers(compared).axes
    extents = {tuple(np.round(drawn.get_extent(), 3)) for ax in panels for drawn in ax.images[1:]}
    scale = 180 / 116  # of the image's width to what it was squashed to, 9 pixels cropped off the left
    # each layer's own columns, of 2 pixels to 32; one more in front, held, fills the strip that the model saw too
    starts = [0.5 - 2, 1.5 - 4, 3.5 - 8, 7.5 - 16, 15.5 - 32]
    np.testing.assert_allclose(sorted((left + 0.5) / scale - 9 for left, *_ in extents), sorted(starts), atol=0.01)


def test_names_of_blocks_and_stages_follow_the_tower(model):
    trace = model.trace(image(), layers="*")
    assert [name for name in model.taps if name.count(".") == 2] == [
        "stages.0.0", "stages.1.0", "stages.2.0", "stages.3.0", "stages.3.1",
        "stages.4.0", "stages.4.1", "stages.5.0", "stages.5.1", "stages.6.0",
    ]  # fmt: skip
    assert torch.equal(trace["stages.3.1"], trace["stages.3"]) and torch.equal(trace["stages.6"], trace["pool.input"])
    assert torch.equal(trace["pool.input"].permute(1, 2, 0), trace.dense)


def test_half_precision_keeps_the_scale(folder):
    model = dcv.load(str(folder), device="cpu", dtype="bf16")
    assert model.clip.logit_scale.dtype == torch.float32 and abs(logit_scale(model.clip) - 1 / 0.07) < 1e-4
    assert model.compare(image(), TEXTS).score.notnull().all()


def test_keys_are_refused_as_a_mean_has_none(model):
    with pytest.raises(dcv.DenseclipVizError, match="plain mean"):
        model.trace(image(), keys="key")


def test_a_figure_of_a_comparison_says_what_it_is_of(model):
    figure = dcv.plot.compare(model.compare(image(), dcv.Prompts(TEXTS[:2], absent=["a giraffe"])))
    said = " ".join(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))
    assert "tiny-align" in said and "a red car" in said


def test_a_pool_that_takes_the_maximum_is_refused(tmp_path):
    align_models.write(tmp_path, align_models.make(pooling_type="max"))
    with pytest.raises(dcv.DenseclipVizError, match="MaxPool2d.* a mean over positions"):
        dcv.load(str(tmp_path), device="cpu")


def test_too_few_pixels_and_too_many_for_the_pool_are_refused(model, tmp_path):
    with pytest.raises(dcv.DenseclipVizError, match="31 x 64 pixels.*1 to 64 whole cells of 32"):
        model.tower.at(torch.zeros(1, 3, 31, 64))
    small = dcv.load(str(align_models.write(tmp_path, align_models.make(hidden_dim=4))), device="cpu")
    assert small.trace(image()).geometry.grid == (3, 3)
    with pytest.raises(dcv.DenseclipVizError, match="1 to 4 whole cells"):
        small.trace(image(), geometry="whole")


def test_random_pixels_of_any_size_open_as_the_tower_alone_says(folder):
    model = dcv.load(str(folder), device="cpu", dtype="fp64")
    for size in ((97, 97), (33, 160), (127, 64)):
        pixels = torch.from_numpy(tiny.random_pixels(*size))[None]
        with torch.no_grad():
            decomposition = decompose(model.tower.at(pixels), pixels, ForwardOptions())
            assert (decomposition.contributions.sum((1, 2)) - model.clip.visual(pixels)).abs().max() < 1e-12
        assert decomposition.dense.shape[1:3] == (size[0] // 32, size[1] // 32)


def test_a_vocabulary_that_lacks_scripts_is_no_hindrance_to_keeping_texts_on_disk(folder, tmp_path):
    kept, plain = (dcv.load(str(folder), device="cpu", cache=where) for where in (tmp_path, False))
    prompts = dcv.Prompts(TEXTS)
    assert torch.equal(kept.texts.encode(prompts), plain.texts.encode(prompts))
