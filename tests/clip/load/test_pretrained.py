"""Which weights are meant, where they are, and what to do when they are not."""

import re
import socket
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from checkpoint_files import add_name, go_offline, same, state, write_cache, write_config
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import save_file

from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.clip.load.pretrained import hub_folder, require_answer
from denseclip_viz.errors import ModelNameError, WeightsError


@pytest.fixture
def named(monkeypatch):
    return partial(add_name, monkeypatch)


@pytest.fixture
def offline(monkeypatch):
    go_offline(monkeypatch)


@pytest.fixture
def cache(tmp_path):
    return write_cache(tmp_path / "cache")


def test_weights_are_never_chosen_in_silence():
    with pytest.raises(WeightsError, match="No weights were named for RN50") as caught:
        load_clip("RN50")
    assert all(word in caught.value.expected for word in ("openai", "yfcc15m", ".safetensors", '"random"'))


@pytest.mark.parametrize(
    ("name", "tag", "said"),
    [
        ("RN50", "opnai", "closest: openai"),
        ("RN50", "laion2b_s34b_b79k", "belongs to ViT-B-32"),
        ("ViT-B-32-quickgelu", "laion2b_s34b_b79k", "belongs to ViT-B-32"),
        ("RN50", "", "no pretrained tag ''"),
    ],
)
def test_unknown_tags_are_answered_with_those_there_are(name, tag, said):
    with pytest.raises(ModelNameError, match=said) as caught:
        load_clip(name, pretrained=tag)
    assert "openai" in caught.value.expected


def check_ways_out(error, file):
    assert file in error.got
    assert all(word in error.fix for word in ("Connect once", "FILE.safetensors", 'pretrained="random"'))


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16", "ViT-L-14-336"])
def test_weights_that_are_not_here_are_missed_at_once_without_a_network(name, offline, tmp_path):
    start = time.perf_counter()
    with pytest.raises(WeightsError, match="127.0.0.1:[0-9]+ does not answer") as caught:
        load_clip(name, pretrained="openai", cache_dir=str(tmp_path))
    assert time.perf_counter() - start < 1
    check_ways_out(caught.value, "open_clip_model.safetensors")
    assert not list(tmp_path.iterdir())


def test_offline_mode_is_believed_and_the_way_out_is_to_unset_it(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set") as caught:
        load_clip("RN50", pretrained="openai", cache_dir=str(tmp_path))
    assert "open_clip_model.safetensors" in caught.value.got and caught.value.fix.startswith("Unset HF_HUB_OFFLINE")


@pytest.fixture
def listener():
    """A host that takes connections and says nothing: slow, or with a certificate of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_host_that_listens_is_left_to_the_client_that_downloads(scheme, listener, monkeypatch):
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    require_answer(f"{scheme}://{listener}/weights.pt", wanted="weights.pt", model="RN50")


@pytest.mark.parametrize("proxy", ["http://{}", "{}"])
@pytest.mark.parametrize("variable", ["https_proxy", "all_proxy"])
def test_where_there_is_a_proxy_it_is_the_proxy_that_must_listen(variable, proxy, listener, monkeypatch):
    for other in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.upper(), raising=False)
    monkeypatch.setenv(variable, proxy.format(listener))
    monkeypatch.setenv("no_proxy", "here.invalid")
    require_answer("https://nowhere.invalid/weights.pt", wanted="weights.pt", model="RN50")
    with pytest.raises(WeightsError, match="here.invalid does not answer"):
        require_answer("https://here.invalid/weights.pt", wanted="weights.pt", model="RN50")


def test_a_connection_that_never_comes_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("socket.create_connection", lambda *args: time.sleep(1) or socket.socket())
    start = time.perf_counter()
    with pytest.raises(WeightsError, match="nothing within 0.1 seconds"):
        require_answer("http://127.0.0.1:9/weights.pt", wanted="weights.pt", model="RN50", timeout=0.1)
    assert time.perf_counter() - start < 2


@pytest.fixture
def hub(monkeypatch):
    """A hub that answers each file with an error, or with a path; gives the files that were asked for."""
    answers, asked = {}, []

    def answer(repo, name="", **options):
        asked.append(name)
        if isinstance(answers.get(name), Exception):
            raise answers[name]
        return answers[name]

    monkeypatch.setattr("denseclip_viz.clip.load.pretrained.require_answer", lambda *args, **kwargs: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", answer)
    monkeypatch.setattr("huggingface_hub.snapshot_download", answer)
    return answers, asked


def refusal(kind, status):
    response = SimpleNamespace(status_code=status, headers={}, request=None)
    error = kind.__new__(kind)
    Exception.__init__(error, f"{status} of the hub\nand more")
    error.response = response
    return error


FIRST, SECOND = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"


def test_a_download_that_breaks_is_told_by_its_cause_and_no_other_file_is_asked_for(named, hub, tmp_path):
    answers, asked = hub
    answers[FIRST] = FileNotFoundError("Please check your connection.")
    answers[FIRST].__cause__ = ConnectionResetError("reset by peer")
    with pytest.raises(WeightsError, match=r"failed \(reset by peer\)") as caught:
        load_clip(named(one={}), pretrained="one", cache_dir=str(tmp_path))
    check_ways_out(caught.value, f"nobody/tiny/{FIRST}")
    assert asked == [FIRST]


def test_only_where_the_hub_has_no_such_file_the_next_is_asked_for(named, hub, tmp_path):
    answers, asked = hub
    answers[FIRST] = refusal(RemoteEntryNotFoundError, 404)
    torch.save(state(), tmp_path / SECOND)
    answers[SECOND] = str(tmp_path / SECOND)
    assert same(load_clip(named(one={}), pretrained="one", cache_dir=str(tmp_path)).clip, state())
    assert asked == [FIRST, SECOND]


@pytest.mark.parametrize("status", [401, 403])
def test_where_the_hub_wants_to_know_who_asks_the_error_says_how(status, named, hub, tmp_path):
    hub[0][FIRST] = refusal(GatedRepoError, status)
    with pytest.raises(WeightsError, match=f"{status} of the hub.*hf auth login"):
        load_clip(named(one={}), pretrained="one", cache_dir=str(tmp_path))


@pytest.mark.parametrize("error", [OSError("404 of the hub"), refusal(RepositoryNotFoundError, 401)])
def test_parts_of_a_text_tower_that_cannot_be_had_are_an_error_of_ours_before_any_weights(error, hub, tmp_path):
    answers, asked = hub
    answers[""] = error
    with pytest.raises(WeightsError, match=r"roberta-base/config.json for roberta-ViT-B-32 failed \(40[14] of the hub"):
        load_clip("roberta-ViT-B-32", pretrained="laion2b_s12b_b32k", cache_dir=str(tmp_path))
    assert asked == [""]


def test_cached_weights_need_no_network(named, cache, offline):
    loaded = load_clip(named(one={"mean": (0.1, 0.2, 0.3), "resize_mode": "squash"}), pretrained="one", cache_dir=cache)
    assert same(loaded.clip, state()) and loaded.provenance["weights"] == "one"
    assert loaded.preprocess.mean == (0.1, 0.2, 0.3) and loaded.preprocess.resize_mode == "squash"


def test_a_damaged_file_of_the_download_cache_says_how_to_fetch_it_again(named, cache, offline):
    file = next(Path(cache).rglob("*.safetensors"))
    file.write_bytes(b"\xff" * 64 + file.read_bytes()[64:])
    with pytest.raises(WeightsError, match=re.escape(str(file))) as caught:
        load_clip(named(one={}), pretrained="one", cache_dir=cache)
    command = f"hf download nobody/tiny open_clip_model.safetensors --force-download --cache-dir {cache}"
    assert command in caught.value.fix


def test_a_snapshot_of_the_download_cache_is_called_by_its_repository(cache):
    folder = write_config(next(Path(cache).rglob("*.safetensors")).parent)
    assert load_clip(folder).provenance["model"] == "nobody/tiny"


def test_files_of_the_hub_that_a_text_tower_needs_are_missed_at_once(offline):
    with pytest.raises(WeightsError, match="nobody/words/config.json for Tiny"):
        hub_folder("nobody/words", ["config.json"], model="Tiny")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.safetensors", "b.safetensors"], "2 weights files"),
        (["readme.txt"], "no weights file"),
        (["a.pt", "b.bin"], "2 weights files"),
    ],
)
def test_a_folder_without_one_clear_weights_file_is_refused(files, said, tmp_path):
    made = write_config(tmp_path / "model")
    for file in files:
        (made / file).write_bytes(b"x")
    with pytest.raises(WeightsError, match=said):
        load_clip(made)
    assert load_clip(made, pretrained="random").provenance["random_weights"] == 1


def test_open_clips_own_file_goes_before_others_and_safetensors_before_pickles(tmp_path):
    made = write_config(tmp_path / "model")
    for file in ("other.safetensors", "open_clip_pytorch_model.bin", "step_10.pt"):
        (made / file).write_bytes(b"x")
    save_file(state(), made / "open_clip_model.safetensors")
    assert load_clip(made).provenance["weights"] == "open_clip_model.safetensors"
