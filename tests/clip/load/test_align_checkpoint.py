"""What is wrong with a folder that should hold an ALIGN is said at once, by name, and with what to do."""

import importlib.util
import json
import shutil

import align_models
import pytest
import torch
from align_models import remove, write_cache, write_older
from checkpoint_files import go_offline, same
from safetensors.torch import load_file, save_file

import denseclip_viz as dcv
from denseclip_viz.clip.load.align_checkpoint import is_align, load_align
from denseclip_viz.errors import DenseclipVizError, GeometryError, ModelNameError, WeightsError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return align_models.write(tmp_path_factory.mktemp("models") / "tiny-align")


@pytest.fixture
def folder(whole, tmp_path):
    """A copy to break."""
    return shutil.copytree(whole, tmp_path / "tiny-align")


def rewrite(file, **changes):
    said = json.loads(file.read_text(encoding="utf-8"))
    for name, value in changes.items():
        where = said
        *outer, last = name.split("__")
        for part in outer:
            where = where[part]
        where[last] = value
    file.write_text(json.dumps(said), encoding="utf-8")


def rewrite_images(folder, **changes):
    """The image processor's settings, in the file where the version at hand puts them."""
    own, shared = folder / "preprocessor_config.json", folder / "processor_config.json"
    if own.is_file():
        rewrite(own, **changes)
    else:
        rewrite(shared, **{f"image_processor__{name}": value for name, value in changes.items()})


def reweigh(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def texts_of(model):
    return model.encode_text(["a red car", "grass"])


def test_a_folder_is_an_align_by_its_own_word_or_by_the_prefix(whole, tmp_path):
    assert is_align(whole) and is_align(str(whole)) and is_align(f"align:{whole}") and is_align("align:nobody/here")
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    assert not any(is_align(name) for name in (tmp_path, "", "RN50", None, 3, str(tmp_path / "no"), "x" * 5000))


def test_a_folder_and_the_prefix_give_the_same_model_with_its_provenance(whole):
    one, other = dcv.load(whole, device="cpu"), dcv.load(f"align:{whole}", device="cpu")
    assert one.provenance == other.provenance and same(one.clip, other.clip.state_dict())
    said = one.provenance
    assert (said["model"], said["weights"], said["random_weights"]) == ("tiny-align", "model.safetensors", 0)
    assert (said["activation"], said["preset"], said["switches"]) == ("gelu", "none", "none")
    assert said["preprocess"].startswith("97 x 97 px from the middle of 116 x 116, squash, bilinear, mean 0.5")
    assert "transformers" in said["versions"] and all(isinstance(value, str | int) for value in said.values())
    assert not one.clip.training and one.tower.family == "mean"


def test_what_older_versions_saved_is_the_same_model(whole, tmp_path):
    model = align_models.make()
    older = dcv.load(str(write_older(tmp_path, model)), device="cpu")
    assert older.provenance["weights"] == "pytorch_model.bin"
    assert same(older.clip, dcv.load(str(whole), device="cpu").clip.state_dict())
    assert older.preprocess == dcv.load(str(whole), device="cpu").preprocess


def test_the_download_cache_is_enough_and_nothing_is_asked_of_the_network(whole, tmp_path, monkeypatch):
    go_offline(monkeypatch)
    write_cache(tmp_path, whole)
    model = dcv.load("align:nobody/align-tiny", cache_dir=str(tmp_path), device="cpu")
    assert model.provenance["model"] == "nobody/align-tiny"
    assert torch.equal(texts_of(model), texts_of(dcv.load(str(whole), device="cpu")))


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["config.json"], "list of files of nobody/align-tiny.*refused"),
        (["model.safetensors"], "list of files of nobody/align-tiny.*refused"),
        (["tokenizer.json"], "holds no tokenizer"),
        (["preprocessor_config.json", "processor_config.json"], "does not say how its images are made ready"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_a_cache_lacks_is_asked_for_or_missed_by_name(missing, said, whole, tmp_path, monkeypatch):
    go_offline(monkeypatch)
    snapshot = write_cache(tmp_path, whole)
    remove(snapshot, *missing)
    with pytest.raises(DenseclipVizError, match=said):
        dcv.load("align:nobody/align-tiny", cache_dir=str(tmp_path), device="cpu")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("align:no/such/folder", "no folder 'no/such/folder'"),
        ("align:", "no folder ''"),
        ("align:align-base", "no folder 'align-base'"),
        ("align:../elsewhere", "no folder"),
    ],
)
def test_a_folder_that_is_not_there_is_named(name, said):
    with pytest.raises(ModelNameError, match=said):
        dcv.load(name)


BROKEN = {
    "no configuration": (lambda f: (f / "config.json").unlink(), ModelNameError, "no config.json"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), ModelNameError, "cannot be read"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), ModelNameError, "the type None"),
    "another model": (
        lambda f: rewrite(f / "config.json", model_type="clip"),
        ModelNameError,
        "type 'clip'.*by its path alone",
    ),
    "a width that is a word": (
        lambda f: rewrite(f / "config.json", text_config__hidden_size="wide"),
        ModelNameError,
        "describes no model",
    ),
    "heads that do not divide": (
        lambda f: rewrite(f / "config.json", text_config__num_attention_heads=5),
        ModelNameError,
        "describes no model.*heads",
    ),
    "an unknown activation": (
        lambda f: rewrite(f / "config.json", vision_config__hidden_act="swash"),
        ModelNameError,
        "describes no model.*swash",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), WeightsError, "no weights file"),
    "broken weights": (
        lambda f: (f / "model.safetensors").write_bytes(b"\x10" * 99),
        WeightsError,
        "model.safetensors .99 bytes. cannot be read",
    ),
    "a missing tensor": (
        lambda f: reweigh(f, lambda s: s.pop("temperature")),
        WeightsError,
        "does not fit tiny-align .missing: temperature",
    ),
    "one tensor too many": (
        lambda f: reweigh(f, lambda s: s.update(more=torch.zeros(1))),
        WeightsError,
        "unexpected: more",
    ),
    "a tensor of another shape": (
        lambda f: reweigh(f, lambda s: s.update({"text_projection.bias": torch.zeros(8)})),
        WeightsError,
        r"text_projection.bias \(8,\) instead of \(80,\)",
    ),
    "a temperature of nothing": (
        lambda f: reweigh(f, lambda s: s.update(temperature=torch.tensor(0.0))),
        WeightsError,
        "temperature of tiny-align is zero",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), ModelNameError, "holds no tokenizer"),
    "a broken tokenizer": (
        lambda f: (f / "tokenizer.json").write_text("{}"),
        ModelNameError,
        "tokenizer in .* cannot be read",
    ),
    "another tokenizer": (
        lambda f: rewrite(f / "tokenizer_config.json", tokenizer_class="CLIPTokenizer"),
        ModelNameError,
        "is a 'CLIPTokenizer'",
    ),
    "a tokenizer of other words": (
        lambda f: rewrite(f / "config.json", text_config__vocab_size=9),
        (ModelNameError, WeightsError),
        "vocab|tokens|word_embeddings",
    ),
    "no image processor": (
        lambda f: remove(f, "preprocessor_config.json", "processor_config.json"),
        GeometryError,
        "does not say how its images are made ready",
    ),
    "another image processor": (
        lambda f: rewrite_images(f, image_processor_type="ViTImageProcessor"),
        GeometryError,
        "by a 'ViTImageProcessor'",
    ),
    "a filter that nobody has": (lambda f: rewrite_images(f, resample=0), GeometryError, "resample is 0"),
}


@pytest.mark.parametrize(("damage", "kind", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_folder_says_what_is_wrong_with_it(damage, kind, said, folder):
    damage(folder)
    with pytest.raises(kind, match=said):
        dcv.load(f"align:{folder}", device="cpu")


def test_towers_of_two_spaces_and_a_tokenizer_of_more_words_are_refused_without_weights_too(folder):
    rewrite(folder / "config.json", projection_dim=64)
    with pytest.raises(ModelNameError, match="makes 80 numbers and its text tower 64"):
        dcv.load(str(folder), pretrained="random", device="cpu")
    rewrite(folder / "config.json", projection_dim=80, text_config__vocab_size=9)
    with pytest.raises(ModelNameError, match="has 14 tokens and its text tower 9"):
        dcv.load(str(folder), pretrained="random", device="cpu")


def test_code_in_a_weights_file_is_never_run(folder, capsys):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    (folder / "model.safetensors").unlink()
    torch.save({"temperature": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="holds temperature"):
        dcv.load(str(folder), device="cpu")
    assert capsys.readouterr().out == ""


def test_settings_that_only_change_what_is_handed_out_change_nothing(whole, folder):
    rewrite(
        folder / "config.json",
        output_hidden_states=True,
        vision_config__output_hidden_states=True,
        text_config__output_attentions=True,
        text_config__return_dict=False,
        vision_config__return_dict=False,
    )
    chatty, plain = dcv.load(str(folder), device="cpu"), dcv.load(str(whole), device="cpu")
    assert torch.equal(texts_of(chatty), texts_of(plain))
    pixels = torch.ones(1, 3, 97, 97)
    assert torch.equal(chatty.encode_image(pixels), plain.encode_image(pixels))


def test_random_weights_come_by_name_and_are_the_same_for_everybody(folder):
    (folder / "model.safetensors").unlink()
    before = torch.get_rng_state()
    first, second = (load_align(folder, pretrained="random", device="cpu") for _ in range(2))
    assert torch.equal(before, torch.get_rng_state()) and same(first.clip, second.clip.state_dict())
    assert first.provenance["random_weights"] == 1 and first.provenance["weights_hash"] == "random-0"


def test_switches_of_clip_are_refused(whole):
    with pytest.raises(ModelNameError, match="preset='maskclip-paper' for an ALIGN"):
        dcv.load(str(whole), preset="maskclip-paper", activation=None)


def test_without_transformers_the_fix_is_named(whole, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else found(name))
    with pytest.raises(ModelNameError, match=r'pip install "denseclip_viz\[transformers\]"'):
        dcv.load(str(whole))
