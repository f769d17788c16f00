"""Text towers of transformers load from a folder, offline, and what is missing is said before anything is read."""

import importlib.util
import json
import shutil

import pytest
import sentencepiece
import torch
from checkpoint_files import TINY, add_name, go_offline, same, write_config
from safetensors.torch import load_file, save_file
from text_models import write_architecture, write_multilingual

from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.errors import ModelNameError, WeightsError

SENTENCES = ["빨간 자동차", "a red car", "سيارة حمراء"]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "languages"
    folder.mkdir()
    write_multilingual(folder, SENTENCES)
    return folder


@pytest.fixture
def folder(original, tmp_path, monkeypatch):
    """A copy to spoil, on a machine without a network."""
    go_offline(monkeypatch)
    return shutil.copytree(original, tmp_path / "copy")


def rename(folder, **text):
    file = folder / "open_clip_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    said = {**config["model_cfg"]["text_cfg"], **text}
    config["model_cfg"]["text_cfg"] = {name: value for name, value in said.items() if value is not None}
    file.write_text(json.dumps(config), encoding="utf-8")


def test_a_folder_that_was_moved_loads_whole_without_a_network(folder, capfd):
    before = torch.get_rng_state()
    loaded = load_clip(folder)
    assert same(loaded.clip, load_file(folder / "open_clip_model.safetensors")) and not loaded.clip.training
    assert loaded.tokenizer(["빨간 자동차"]).shape == (1, 77) and loaded.tokenizer.tokenizer.pad_token_id == 1
    assert loaded.provenance["activation"] == "gelu" and "transformers" in loaded.provenance["versions"]
    assert torch.equal(before, torch.get_rng_state()) and capfd.readouterr() == ("", "")
    assert same(load_clip(f"local-dir:{folder}").clip, loaded.clip.state_dict())


@pytest.mark.parametrize("where", ["absolute", "the same folder", "the folder that one is in"])
def test_the_text_tower_may_lie_in_any_folder(where, folder, tmp_path, monkeypatch):
    if where == "absolute":
        shutil.move(folder / "words", tmp_path / "elsewhere")
        rename(folder, hf_model_name=str(tmp_path / "elsewhere"))
    elif where == "the same folder":
        shutil.move(folder / "words" / "config.json", folder)
        rename(folder, hf_model_name=".")
    else:
        shutil.move(folder / "words", tmp_path / "here")
        rename(folder, hf_model_name="here")
        monkeypatch.chdir(tmp_path)
    loaded = load_clip(folder)
    assert same(loaded.clip, load_file(folder / "open_clip_model.safetensors"))


@pytest.mark.parametrize("dtype", ["bf16", "fp64"])
def test_it_runs_in_every_dtype_and_random_weights_are_the_same_for_everybody(dtype, folder):
    first, second = (load_clip(folder, pretrained="random", dtype=dtype) for _ in range(2))
    assert same(first.clip, second.clip.state_dict())
    with torch.no_grad():
        assert first.clip.encode_text(first.tokenizer(SENTENCES)).isfinite().all()


def test_checkpoints_of_older_versions_hold_positions_that_are_no_weights(folder):
    file = folder / "open_clip_model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "text.transformer.embeddings.position_ids": torch.arange(80)[None]}, file)
    assert same(load_clip(folder).clip, tensors)


def spoil_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{", encoding="utf-8")


def spoil_vocabulary(folder):
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Owl"}}', encoding="utf-8")


def take_tokenizer(folder):
    for file in folder.glob("*token*"):
        file.unlink()


def take_architecture(folder):
    (folder / "words" / "config.json").unlink()


def spoil_architecture(folder):
    (folder / "words" / "config.json").write_text("[1]", encoding="utf-8")


def other_architecture(folder):
    kind = {"model_type": "gpt2", "auto_map": {"AutoConfig": "own.Config"}}
    (folder / "words" / "config.json").write_text(json.dumps(kind), encoding="utf-8")


def heads_that_do_not_fit(folder):
    file = folder / "words" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "num_attention_heads": 3}), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_tokenizer, "The tokenizer in .* cannot be read"),
        (spoil_vocabulary, "The tokenizer in .* cannot be read"),
        (take_tokenizer, "holds no tokenizer"),
        (take_architecture, "config.json cannot be read"),
        (spoil_architecture, "names no model_type"),
        (other_architecture, "'gpt2', of which open_clip makes no text tower"),
        (heads_that_do_not_fit, "describes no model"),
        (lambda folder: rename(folder, hf_tokenizer_name=None), "names no tokenizer"),
        (lambda folder: rename(folder, hf_model_name="/nowhere/words"), "'/nowhere/words' for its text tower"),
        (lambda folder: rename(folder, hf_model_name="../words"), "no folder here"),
        (lambda folder: rename(folder, hf_model_name=5), "names 5 for its text tower"),
        (lambda folder: rename(folder, hf_pooler_type="owl"), "describes no model"),
    ],
)
def test_what_is_wrong_with_a_folder_is_an_error_of_ours_that_names_it(spoil, said, folder):
    spoil(folder)
    with pytest.raises(ModelNameError, match=said):
        load_clip(folder)


def test_a_text_tower_of_the_hub_is_missed_at_once_with_the_way_out(folder):
    rename(folder, hf_model_name="nobody/words")
    with pytest.raises(WeightsError, match="list of files of nobody/words for copy failed") as caught:
        load_clip(folder)
    assert "hf_model_name is a folder" in caught.value.fix


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelNameError, match=r"needs the package transformers.*denseclip_viz\[transformers\]"):
        load_clip("roberta-ViT-B-32", pretrained="random")


def test_a_tokenizer_is_looked_for_where_downloads_are_kept(monkeypatch, tmp_path, folder):
    text = {**TINY["text_cfg"], "hf_tokenizer_name": "nobody/words"}
    name = add_name(monkeypatch, config={**TINY, "text_cfg": text})
    with pytest.raises(WeightsError, match="list of files of nobody/words for Tiny-8"):
        load_clip(name, pretrained="random", cache_dir=str(tmp_path / "cache"))
    snapshot = tmp_path / "cache" / "models--nobody--words" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / file, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc", encoding="utf-8")
    loaded = load_clip(name, pretrained="random", cache_dir=str(tmp_path / "cache"))
    assert loaded.tokenizer.tokenizer.convert_ids_to_tokens(4).startswith("▁")


def test_a_plain_tower_with_a_tokenizer_in_its_folder_loads(folder, tmp_path):
    made = write_config(tmp_path / "plain", {**TINY, "text_cfg": {**TINY["text_cfg"], "hf_tokenizer_name": "any"}})
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / file, made)
    assert load_clip(made, pretrained="random").tokenizer(["a red car"]).shape == (1, 77)


@pytest.mark.parametrize("kind", ["roberta", "bert", "mt5", "m2m_100"])
def test_the_other_architectures_load_from_a_folder_too(kind, folder):
    shutil.rmtree(folder / "words")
    write_architecture(folder / "words", kind)
    rename(folder, hf_proj_type="linear")
    loaded = load_clip(folder, pretrained="random")
    assert loaded.clip.text.config.model_type == kind


def test_a_vocabulary_that_is_a_sentencepiece_file_alone_is_read(folder):
    for file in folder.glob("*token*"):
        file.unlink()
    pieces = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": 60, "hard_vocab_limit": False}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 9), model_prefix=str(folder / "spiece"), minloglevel=2, **pieces
    )
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer"}', encoding="utf-8")
    ids = load_clip(folder, pretrained="random").tokenizer(["빨간 자동차"])
    assert ids.shape == (1, 77) and not (ids == 2).any() and ids[0, -1] == 0
