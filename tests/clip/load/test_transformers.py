"""A model that transformers saved is the same model here: its embeddings, its images, its texts, its dense maps."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers_models as made
from checkpoint_files import add_name, same
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import AutoTokenizer

import denseclip_viz as dcv
from denseclip_viz.clip.load.source import find_source
from denseclip_viz.clip.text.disk_cache import LEAST
from denseclip_viz.clip.text.tokenize import token_ids
from denseclip_viz.clip.text.word_tokens import word_places
from denseclip_viz.errors import PromptError, WeightsError

KINDS = tuple(made.CONFIGS)
TEXTS = ["a red car", "the green grass", "two giraffe"]


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def theirs(kind):
    return made.make(kind)


@pytest.fixture(scope="module")
def folder(kind, theirs, tmp_path_factory):
    return made.write(tmp_path_factory.mktemp("models") / kind, kind, theirs)


@pytest.fixture(scope="module")
def model(folder):
    return load(folder)


def load(folder, **options):
    return dcv.load(folder, device="cpu", cache=False, **options)


def photo(height, width):
    """Coarse colours and fine noise."""
    generator = np.random.default_rng(height)
    coarse = np.kron(generator.integers(0, 200, (-(-height // 20), -(-width // 20), 3)), np.ones((20, 20, 1)))
    return Image.fromarray((coarse[:height, :width] + generator.integers(0, 55, (height, width, 3))).astype(np.uint8))


def texts_of(theirs, kind, folder, texts=TEXTS):
    rows = AutoTokenizer.from_pretrained(folder)(
        texts, padding="max_length", max_length=made.CONTEXT, truncation=True, return_tensors="pt"
    )
    masked = {"attention_mask": rows.attention_mask} if kind == "chinese_clip" else {}
    with torch.no_grad():
        return theirs.get_text_features(input_ids=rows.input_ids, **masked).pooler_output


def images_of(theirs, inputs):
    with torch.no_grad():
        return theirs.get_image_features(**inputs).pooler_output


def patches(pixels):
    """What a Siglip2Model reads: the patches of an image, each channel last."""
    cells = pixels.unflatten(3, (4, 14)).unflatten(2, (4, 14)).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
    ones = torch.ones(len(pixels), 16, dtype=torch.int32)
    return {"pixel_values": cells, "pixel_attention_mask": ones, "spatial_shapes": torch.tensor([[4, 4]] * len(pixels))}


def inputs_of(kind, pixels):
    return patches(pixels) if kind == "siglip2" else {"pixel_values": pixels}


def test_embeddings_of_texts_are_those_of_transformers(model, theirs, kind, folder):
    expected = F.normalize(texts_of(theirs, kind, folder), dim=-1)
    torch.testing.assert_close(model.encode_text(TEXTS), expected, atol=1e-6, rtol=0)


def test_embeddings_of_images_are_those_of_transformers_from_the_same_pixels(model, theirs, kind):
    pixels = torch.from_numpy(made.tiny.random_pixels(56, 56))[None].float()
    with torch.no_grad():
        ours = model.clip.encode_image(pixels)
    torch.testing.assert_close(ours, images_of(theirs, inputs_of(kind, pixels)), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("size", [(90, 131), (131, 90), (57, 57)])
def test_embeddings_of_images_are_those_of_transformers_with_its_own_processor(size, model, theirs, kind, folder):
    size = (90, 90) if kind == "siglip2" else size  # of others, its processor keeps the shape
    image = photo(*size)
    processor = made.image_processor(kind, "Pil")
    expected = images_of(theirs, processor(image, return_tensors="pt"))[0]
    ours = model.trace(image).global_embedding
    tolerance = 2e-2 if kind == "siglip2" else 3e-6  # its processor takes torchvision's pixels, a level off Pillow's
    assert (ours - expected).norm() <= tolerance * expected.norm()


def test_in_fp64_they_are_the_same_to_twelve_digits(kind, tmp_path):
    theirs = made.make(kind)
    model = load(made.write(tmp_path / kind, kind, theirs), dtype="fp64")
    pixels = torch.from_numpy(made.tiny.random_pixels(56, 56))[None]
    with torch.no_grad():
        ours = model.clip.encode_image(pixels)
    expected = images_of(theirs.double(), inputs_of(kind, pixels))
    torch.testing.assert_close(ours, expected, atol=1e-12, rtol=1e-12)
    assert model.logit_scale == pytest.approx(float(theirs.logit_scale.detach().exp()), rel=1e-12)


def test_the_dense_features_are_what_its_own_modules_give_for_one_position_alone(model, theirs, kind):
    image = photo(56, 56)
    trace = model.trace(image)
    pixels = trace.pixels[None]
    with torch.no_grad():
        dense = one_position_at_a_time(theirs, kind, pixels)
    torch.testing.assert_close(trace.dense.flatten(0, 1), dense, atol=3e-6, rtol=1e-5)


def one_position_at_a_time(theirs, kind, pixels):
    """Attend to position j alone, for each j: its value, the projection, and what stands behind the attention."""
    tower = theirs.vision_model
    if kind in ("clip", "chinese_clip"):
        stream = tower.pre_layrnorm(tower.embeddings(pixels))
        *blocks, last = tower.encoder.layers
        for block in blocks:
            out = block(stream, attention_mask=None)
            stream = out[0] if isinstance(out, tuple) else out
        rows = []
        for j in range(1, stream.shape[1]):
            x = stream[0, j]
            x = x + last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(x)))
            x = x + last.mlp(last.layer_norm2(x))
            rows.append(theirs.visual_projection(tower.post_layernorm(x)))
        return torch.stack(rows)
    tokens = tower(**inputs_of(kind, pixels)).last_hidden_state[0]
    pool, rows = tower.head, []
    _, _, values = pool.attention.in_proj_weight.chunk(3)
    _, _, bias = pool.attention.in_proj_bias.chunk(3)
    for token in tokens:
        x = pool.attention.out_proj(values @ token + bias)
        rows.append(x + pool.mlp(pool.layernorm(x)))
    return torch.stack(rows)


def test_what_people_ask_of_any_model_can_be_asked_of_it(model):
    image = photo(80, 100)
    both = model.compare(image, TEXTS)
    assert len(dcv.plot.compare(both).axes) > 0
    words = dcv.measure.word_attribution(model, image, "a red car", templates=["photo of {}"])
    assert words.sizes["word"] == 3
    assert model.classify(image, TEXTS).sizes["prompt"] == 3


def test_the_temperature_and_the_bias_are_its_own(model, theirs, kind):
    assert model.logit_scale == pytest.approx(float(theirs.logit_scale.detach().exp()), rel=1e-6)
    bias = getattr(theirs, "logit_bias", None)
    assert model.logit_bias == (None if bias is None else pytest.approx(float(bias.detach())))


def test_provenance_says_where_each_fact_is_known_from(model, kind, folder):
    known = model.provenance
    assert known["model"] == folder.name and known["weights"] == "model.safetensors" and known["random_weights"] == 0
    assert known["known_from"] == "the folder's configuration: activation, mean, std, interpolation, resize_mode"
    assert "were translated" in known["notes"] and "transformers" in known["versions"]
    assert ("squashed to 56 x 56 px" in known["notes"]) == (kind == "siglip2")
    gates = {"clip": "quickgelu", "chinese_clip": "quickgelu (image), gelu (text)"}
    assert known["activation"] == gates.get(kind, "gelu-tanh")


def test_ids_are_those_of_transformers_own_tokenizer(model, folder):
    texts = ["a red car", "A Photo of  grass!", "the sky.", "a"]
    theirs = AutoTokenizer.from_pretrained(folder)(
        texts, padding="max_length", max_length=made.CONTEXT, return_tensors="pt"
    )
    assert torch.equal(token_ids(model.tokenizer, texts, context=made.CONTEXT, truncate=False), theirs.input_ids)


def test_each_word_is_found_among_the_tokens(model):
    places = word_places(model.tokenizer, "photo of {} ", "a red car", context=made.CONTEXT)
    assert len(places) == 3 and all(
        a.stop == b.start or a.stop <= b.start for a, b in zip(places, places[1:], strict=False)
    )


def test_a_text_alone_gets_the_vector_that_it_has_among_longer_ones(model):
    longer = ["a", "a red car of the green grass"[:22], "sky"]
    torch.testing.assert_close(model.encode_text(["a"])[0], model.encode_text(longer)[0], atol=1e-6, rtol=0)


def test_words_that_clips_tokenizer_takes_apart_are_warned_of(model, kind):
    if kind == "clip":
        with pytest.warns(UserWarning, match="CLIP's tokenizer reads 'машина' in single letters or bytes"):
            model.encode_text(["a машина"])
    if kind == "siglip2":  # which has bytes too, but is of every language
        model.encode_text(["a машина"])


def test_a_typed_end_of_text_is_refused(model, folder):
    end = AutoTokenizer.from_pretrained(folder).eos_token or "[SEP]"
    with pytest.raises(PromptError, match="control token|does not know"):
        model.encode_text([f"a red {end} car"])


def test_shards_and_pickles_are_the_same_model(model, theirs, folder, tmp_path):
    state = model.clip.state_dict()
    for name, options in {"shards": {"max_shard_size": "20KB"}, "pickle": {}}.items():
        copy = shutil.copytree(folder, tmp_path / name)
        (copy / "model.safetensors").unlink()
        if options:
            theirs.save_pretrained(copy, **options)
            assert len(list(copy.glob("*.safetensors"))) > 1
        else:
            positions = {"text_model.embeddings.position_ids": torch.arange(made.CONTEXT)[None]}
            torch.save({**theirs.state_dict(), **positions}, copy / "pytorch_model.bin")
            torch.save({"step": 3}, copy / "training_args.bin")
        again = load(copy)
        assert same(again.clip, state)
        expected = {"shards": "model.safetensors.index.json", "pickle": "pytorch_model.bin"}[name]
        assert again.provenance["weights"] == expected


def test_the_hash_of_shards_is_of_all_of_them(theirs, folder, tmp_path):
    hashes = set()
    for seed in (0, 1):
        copy = shutil.copytree(folder, tmp_path / str(seed))
        (copy / "model.safetensors").unlink()
        with torch.no_grad():
            theirs.logit_scale.fill_(2.3 + seed / 10)
        theirs.save_pretrained(copy, max_shard_size="20KB")
        hashes.add(load(copy).provenance["weights_hash"])
    with torch.no_grad():
        theirs.logit_scale.fill_(2.3)
    assert len(hashes) == 2


SHARDED = {
    "a shard is missing": (lambda f: next(f.glob("model-*2-of*")).unlink(), "does not exist"),
    "a shard elsewhere": (lambda f: point(f, "../model.safetensors"), "names of files beside it|names ../model"),
    "a shard without a name": (lambda f: point(f, ""), "names of files beside it"),
    "no list of names": (lambda f: made.rewrite(f / INDEX, weight_map=None), "names no files"),
    "no JSON": (lambda f: (f / INDEX).write_text("{"), "cannot be read"),
    "a tensor that is in none": (lambda f: point(f, next(f.glob("model-*1-of*")).name), "does not fit its files"),
}
INDEX = "model.safetensors.index.json"


def point(folder, name):
    """Lets the index say of every tensor that it is in this file."""
    places = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    made.rewrite(folder / INDEX, weight_map=dict.fromkeys(places, name))


@pytest.mark.parametrize(("damage", "said"), SHARDED.values(), ids=SHARDED)
def test_a_damaged_index_is_named(damage, said, tmp_path):
    folder = made.write(tmp_path / "clip", "clip")
    (folder / "model.safetensors").unlink()
    made.make("clip").save_pretrained(folder, max_shard_size="20KB")
    damage(folder)
    with pytest.raises(WeightsError, match=said):
        load(folder)


OLDER = {"clip": ["vocab.json", "merges.txt"], "chinese_clip": ["vocab.txt"]}


@pytest.mark.parametrize("kind", OLDER, indirect=True)
def test_a_vocabulary_as_older_versions_wrote_it_gives_the_same_ids(kind, folder, model, tmp_path):
    copy = shutil.copytree(folder, tmp_path / kind)
    pairs = json.loads((copy / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (copy / "tokenizer.json").unlink()
    vocabulary = sorted(pairs["vocab"], key=pairs["vocab"].get)
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in pairs.get("merges", []))])
    contents = {"vocab.json": json.dumps(pairs["vocab"]), "merges.txt": merges, "vocab.txt": "\n".join(vocabulary)}
    for name in OLDER[kind]:
        (copy / name).write_text(contents[name], encoding="utf-8")
    assert torch.equal(load(copy).tokenizer(TEXTS), model.tokenizer(TEXTS))


def test_a_configuration_as_older_versions_wrote_it_is_the_same_model(tmp_path):
    folder = made.write(tmp_path / "clip", "clip")
    state, legacy = load(folder).clip.state_dict(), {"_name_or_path": "x", "pruned_heads": {}, "torch_dtype": None}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = {**config.pop("text_config"), **legacy}
    made.rewrite(folder / "config.json", text_config=None, text_config_dict=text, vision_config_dict=None, **legacy)
    assert same(load(folder).clip, state)


def test_vectors_kept_on_disk_are_not_taken_for_a_tower_of_other_settings(tmp_path):
    folder = made.write(tmp_path / "clip", "clip")
    texts = [f"red car {number}" for number in range(LEAST)]  # fewer are not written before the end
    kept = {"device": "cpu", "cache": tmp_path / "cache"}
    before = dcv.load(folder, **kept).texts.encode(texts)
    assert list((tmp_path / "cache").iterdir())
    assert torch.equal(dcv.load(folder, **kept).texts.encode(texts), before)
    for changes in ({"num_attention_heads": 4}, {"layer_norm_eps": 1e-2}):
        made.rewrite(folder / "config.json", **{f"text_config__{name}": value for name, value in changes.items()})
        after, fresh = (dcv.load(folder, **options).texts.encode(texts) for options in (kept, kept | {"cache": False}))
        assert torch.equal(after, fresh) and (after - before).abs().max() > 1e-3
        before = after


def test_a_file_alone_is_what_the_folder_around_it_says(tmp_path):
    folder = made.write(tmp_path / "clip", "clip")
    alone, whole = load(folder / "model.safetensors"), load(folder)
    assert same(alone.clip, whole.clip.state_dict()) and alone.provenance["model"] == "clip"
    assert "the configuration beside the file" in alone.provenance["notes"]


@pytest.mark.parametrize(("image", "text"), [("quick_gelu", "gelu"), ("gelu", "quick_gelu"), ("gelu_new", "gelu")])
def test_two_activations_in_one_model_are_kept_apart(image, text, tmp_path):
    image_settings = {"hidden_act": image, "layer_norm_eps": 1e-3}
    theirs = made.make("clip", text_config={"hidden_act": text}, vision_config=image_settings)
    model = load(made.write(tmp_path / "clip", "clip", theirs))
    names = {"quick_gelu": "quickgelu", "gelu": "gelu", "gelu_new": "gelu-tanh"}
    assert model.provenance["activation"] == f"{names[image]} (image), {names[text]} (text)"
    pixels = torch.from_numpy(made.tiny.random_pixels(56, 56))[None].float()
    with torch.no_grad():
        ours = model.clip.encode_image(pixels)
    torch.testing.assert_close(ours, images_of(theirs, {"pixel_values": pixels}), atol=2e-6, rtol=1e-6)
    expected = F.normalize(texts_of(theirs, "clip", tmp_path / "clip"), dim=-1)
    torch.testing.assert_close(model.encode_text(TEXTS), expected, atol=1e-6, rtol=0)


def test_the_first_version_ends_a_text_at_its_highest_token(tmp_path):
    theirs = made.make("clip", text_config={"eos_token_id": 2})
    model = load(made.write(tmp_path / "clip", "clip", theirs))
    assert model.clip.text_pool_type == "argmax"
    expected = F.normalize(texts_of(theirs, "clip", tmp_path / "clip"), dim=-1)
    torch.testing.assert_close(model.encode_text(TEXTS), expected, atol=1e-6, rtol=0)


def test_a_name_of_open_clip_takes_a_file_of_transformers_and_what_lies_beside_it(tmp_path, monkeypatch):
    folder = made.write(tmp_path / "clip", "clip")
    made.rewrite(folder / "preprocessor_config.json", image_mean=[0.1, 0.2, 0.3])
    of_folder, config = load(folder), {**find_source(folder).config, "quick_gelu": False}
    text = {key: value for key, value in config["text_cfg"].items() if "token" not in key}
    add_name(monkeypatch, "Tiny-14", {**config, "text_cfg": {**text, "vocab_size": 518}})
    model = load("Tiny-14", pretrained=folder / "model.safetensors")
    assert same(model.clip, of_folder.clip.state_dict())
    assert (model.provenance["activation"], model.preprocess.mean) == ("quickgelu", (0.1, 0.2, 0.3))
    assert "the configuration beside the file: activation, mean" in model.provenance["known_from"]


def test_a_folder_that_does_not_say_how_images_are_made_ready_is_warned_of(kind, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / kind)
    (copy / "preprocessor_config.json").unlink()
    with pytest.warns(
        UserWarning, match="does not say how its images are made ready: taken is what a .*Processor does"
    ):
        model = load(copy)
    assert model.preprocess.size == (56, 56)
    assert "ImageProcessor does unless told otherwise: mean, std" in model.provenance["known_from"]
    usual = {"clip": "shortest", "chinese_clip": "shortest"}
    assert model.preprocess.resize_mode == usual.get(kind, "squash")
    settled = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    assert load(copy, **settled).preprocess.interpolation == "bilinear"


def test_a_configuration_of_open_clip_goes_first(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "both")
    (copy / "open_clip_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(dcv.DenseclipVizError, match="open_clip_config.json"):
        load(copy)


def test_the_model_is_built_alike_each_time_without_weights(folder):
    first, second = (load(folder, pretrained="random") for _ in range(2))
    assert same(first.clip, second.clip.state_dict())
    assert first.provenance["random_weights"] == 1


def test_weights_of_another_size_are_refused_by_their_names(kind, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "other")
    state = load_file(copy / "model.safetensors")
    name = next(name for name in state if "vision_model" in name and "fc1.weight" in name)
    save_file({**state, name: state[name][:, :-1].contiguous(), "more": torch.ones(2)}, copy / "model.safetensors")
    with pytest.raises(WeightsError, match="unexpected: more|of another shape: visual"):
        load(copy)
