"""Models of the hub: what is downloaded, in which order, and what is said where it cannot be had."""

import contextlib
import errno
import io
import json
import os
import re
import signal
import ssl
import sys
import time

import huggingface_hub
import pytest
import torch
import transformers_models
from checkpoint_files import TINY, add_name, same, state
from huggingface_hub import constants
from huggingface_hub.utils import _http
from safetensors.torch import save
from stand_in_hub import CERTIFICATE, COMMIT, asked_at, breaks_off, of_get, running, silent, slow, web_page
from text_models import write_multilingual

import denseclip_viz as dcv
from denseclip_viz.errors import DenseclipVizError, ModelNameError, WeightsError

WEIGHTS = "open_clip_model.safetensors"
REPO = {
    "open_clip_config.json": json.dumps({"model_cfg": TINY, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}).encode(),
    WEIGHTS: save(state()),
    "README.md": b"what it is",
    "modeling.py": b"raise SystemExit",
}


@pytest.fixture
def hub():
    with running() as made, asked_at(made.url):
        made.files["someone/tiny"] = dict(REPO)
        yield made


@pytest.fixture
def load(tmp_path):
    return lambda name="hf-hub:someone/tiny", **options: dcv.load(
        name, device="cpu", cache=False, cache_dir=str(tmp_path / "cache"), **options
    )


def test_a_repository_of_open_clip_is_loaded_under_its_name(hub, load):
    model = load()
    assert same(model.clip, state()) and model.provenance["model"] == "someone/tiny"
    assert model.preprocess.mean == (0.5, 0.5, 0.5) and model.provenance["weights"] == WEIGHTS


def test_only_what_is_needed_is_downloaded_and_the_weights_come_last(hub, load):
    hub.files["someone/tiny"] |= {
        "open_clip_pytorch_model.bin": b"x",
        "model.safetensors": b"y",
        "tokenizer.json": b"{}",
    }
    load()
    assert hub.got() == ["tokenizer.json", "open_clip_config.json", WEIGHTS]


def test_the_second_time_nobody_is_asked(hub, load):
    load()
    hub.asked.clear()
    load()
    assert not hub.asked


def test_what_is_no_model_is_refused_before_its_weights(hub, load):
    hub.files["someone/tiny"]["open_clip_config.json"] = b'{"model_cfg": {}}'
    with pytest.raises(ModelNameError, match="no model description"):
        load()
    assert WEIGHTS not in hub.got()


def test_a_repository_without_a_configuration_says_so(hub, load):
    hub.files["someone/tiny"] = {"tokenizer.json": b"{}", "adapter_model.safetensors": b"x"}
    with pytest.raises(ModelNameError, match="someone/tiny holds no configuration"):
        load()


def test_a_pickle_is_taken_where_there_is_no_safetensors(hub, load, tmp_path):
    torch.save(state(), tmp_path / "w.bin")
    hub.files["someone/tiny"]["open_clip_pytorch_model.bin"] = (tmp_path / "w.bin").read_bytes()
    del hub.files["someone/tiny"][WEIGHTS]
    assert same(load().clip, state())


def test_random_weights_need_no_weights(hub, load):
    assert load(pretrained="random").provenance["random_weights"] == 1
    assert WEIGHTS not in hub.got()


@pytest.mark.parametrize("revision", ["v2", COMMIT])
def test_a_revision_is_named_behind_an_at(revision, hub, load):
    load(f"hf-hub:someone/tiny@{revision}")
    assert ("HEAD", f"/someone/tiny/resolve/{revision}/open_clip_config.json") in hub.asked
    hub.asked.clear()
    load(f"hf-hub:someone/tiny@{revision}")
    assert not hub.asked


def test_a_tag_is_downloaded_from_its_repository(hub, load, monkeypatch):
    hub.files["nobody/tiny"] = {WEIGHTS: save(state())}
    assert same(load(add_name(monkeypatch, one={}), pretrained="one").clip, state())


def test_a_bare_name_of_the_hub_says_what_to_write():
    with pytest.raises(ModelNameError, match='write "hf-hub:openai/clip-vit-base-patch32"'):
        dcv.load("openai/clip-vit-base-patch32")


def test_every_tag_of_open_clip_is_in_a_repository():
    import open_clip

    assert all(open_clip.get_pretrained_cfg(*pair).get("hf_hub") for pair in open_clip.list_pretrained())


# What goes wrong: the fault by the file where it happens, and what the error says of it.
GATED = {"X-Error-Code": "GatedRepo"}
FAULTS = {
    "login wanted": (WEIGHTS, 401, "401 Unauthorized.*hf auth login"),
    "terms not accepted": (
        WEIGHTS,
        lambda to: to.say(403, **{"X-Error-Code": "GatedRepo"}),
        "403: its owner.*terms.*hf auth",
    ),
    "the file is gone": (WEIGHTS, 404, "404 Not Found"),
    "the hub is down": (WEIGHTS, 503, r"503 Service Unavailable, from 127.0.0.1.*Try again later"),
    "the list is down": ("tiny", 500, "list of files of someone/tiny.*500 Internal Server Error"),
    "too many questions": (WEIGHTS, 429, "429 Too Many Requests"),
    "a hub of no words": (WEIGHTS, silent, "silent for too long.*HF_HUB_ETAG_TIMEOUT"),
    "a list of no words": ("tiny", silent, "silent for too long"),
    "a login page": (WEIGHTS, web_page, "does not answer as a hub does.*HF_ENDPOINT"),
    "a login page for a list": ("tiny", web_page, "list of files of someone/tiny"),
    "silent in the middle": (WEIGHTS, of_get(silent), "silent for too long"),
    "breaks off for ever": (WEIGHTS, breaks_off(REPO[WEIGHTS], after=500, times=99), "peer closed|incomplete"),
}


@pytest.mark.parametrize(("file", "fault", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_what_goes_wrong_is_told_by_its_cause_in_time(file, fault, said, hub, load):
    patience = 0.1 if "silent" in said else 10  # on a busy machine an answer takes what it takes
    with asked_at(hub.url, patience=patience):
        hub.faults[file] = fault
        start = time.perf_counter()
        with pytest.raises(WeightsError, match=said) as caught:
            load()
    assert time.perf_counter() - start < 60  # of the tests' patience; not a measure of speed
    assert "\n" not in str(caught.value) and "open_clip_pytorch_model.bin" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf-hub:someone/else", "401: there is no such repository.*Check the name.*hf auth login"),
        ("hf-hub:someone/tiny@v9", "404: the repository has no such revision.*behind @"),
        ("hf-hub:so me/tiny", "Repo id must"),
        ("hf-hub:", "Repo id must"),
        ("align:someone/else", "there is no such repository"),
    ],
)
def test_a_name_that_is_none_is_told_from_a_file_that_is_none(name, said, hub, load):
    with pytest.raises(WeightsError, match=said):
        load(name)


def test_a_repository_without_weights_says_which_files_were_looked_for(hub, load):
    del hub.files["someone/tiny"][WEIGHTS]
    with pytest.raises(WeightsError, match=f"{WEIGHTS} or open_clip_pytorch_model.bin.*404: the repo"):
        load()


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, load):
    hub.faults[WEIGHTS] = breaks_off(REPO[WEIGHTS], after=1000, times=2)
    assert same(load().clip, state())


def test_a_download_is_not_cut_however_slow_it_is(hub, load):
    hub.faults[WEIGHTS] = slow(REPO[WEIGHTS], pieces=20, pause=0.1)
    with asked_at(hub.url, patience=1.5):
        assert same(load().clip, state())


def test_nothing_half_is_left(hub, load, tmp_path):
    hub.faults[WEIGHTS] = breaks_off(REPO[WEIGHTS], after=500, times=99)
    with pytest.raises(WeightsError):
        load()
    assert not list((tmp_path / "cache").rglob("*.incomplete"))


def test_where_nobody_listens_the_cause_is_told(hub, load):
    with (
        asked_at("http://127.0.0.1:9"),
        pytest.raises(WeightsError, match="127.0.0.1:9.*refused.*Connect and call again"),
    ):
        load()


def test_an_unknown_host_is_told(hub, load):
    with asked_at("http://no-such-host.invalid"), pytest.raises(WeightsError, match="no-such-host.invalid: .+Connect"):
        load()


def test_a_proxy_that_nobody_runs_is_told(hub, load):
    with asked_at("http://192.0.2.1") as patch:
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        patch.delenv("NO_PROXY", raising=False)
        patch.delenv("no_proxy", raising=False)
        with pytest.raises(WeightsError, match="refused"):
            load()


def test_the_switch_of_the_hub_is_believed_and_what_is_here_is_used(hub, load, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set.*Unset HF_HUB_OFFLINE"):
            load()
    load()
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load()
    assert not hub.asked


def test_own_certificates_are_those_of_the_hubs_client(load):
    with running(tls=True) as secure, asked_at(secure.url):
        secure.files["someone/tiny"] = dict(REPO)
        with pytest.raises(WeightsError, match="CERTIFICATE_VERIFY_FAILED.*SSL_CERT_FILE"):
            load()
        client = type(huggingface_hub.get_session())
        context = ssl.create_default_context(cafile=CERTIFICATE)
        huggingface_hub.set_client_factory(lambda: client(verify=context, follow_redirects=True))
        try:
            assert same(load().clip, state())
        finally:
            huggingface_hub.set_client_factory(_http.default_client_factory)


def test_a_full_disk_is_told(hub, load, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(WeightsError, match="No space left on device.*HF_HOME to a folder on another disk"):
        load()


def test_a_cache_that_cannot_be_written_is_named(hub, load, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(WeightsError, match=f"{re.escape(str(tmp_path / 'cache'))}.*HF_HOME"):
        load()


@pytest.mark.parametrize("name", ["open_clip_config.json", WEIGHTS])
def test_a_damaged_file_of_the_cache_is_named_with_the_command_that_repairs_it(name, hub, load, tmp_path):
    load()
    (file,) = (tmp_path / "cache").rglob(name)
    file.write_bytes(b"\xff" * 64 + file.read_bytes()[64:])
    with pytest.raises(DenseclipVizError) as caught:
        load()
    assert str(file) in str(caught.value)
    assert f"hf download someone/tiny {name} --force-download" in caught.value.fix


def files_in(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_repository_of_transformers_is_loaded_as_its_folder_is(kind, hub, load, tmp_path):
    folder = transformers_models.write(tmp_path / "made", kind)
    hub.files["someone/tiny"] = files_in(folder) | {"tf_model.h5": b"x", "pytorch_model.bin": b"x", "own.py": b"x"}
    assert same(load().clip, load(str(folder)).clip.state_dict())
    assert hub.got()[-1] == "model.safetensors" and not {"tf_model.h5", "pytorch_model.bin", "own.py"} & {*hub.got()}
    hub.asked.clear()
    assert load().provenance["model"] == "someone/tiny" and not hub.asked


def test_of_several_shards_only_those_that_are_missing_are_downloaded(hub, load, tmp_path):
    folder = transformers_models.write(tmp_path / "made", "clip")
    (folder / "model.safetensors").unlink()
    transformers_models.make("clip").save_pretrained(folder, max_shard_size="20KB")
    hub.files["someone/tiny"] = files_in(folder)
    expected = load(str(folder)).clip.state_dict()
    assert same(load().clip, expected)
    shard = sorted((tmp_path / "cache").rglob("model-*.safetensors"))[1]
    shard.resolve().unlink()
    shard.unlink()
    hub.asked.clear()
    assert same(load().clip, expected)
    assert hub.got() == [shard.name]


def test_a_damaged_index_of_shards_is_named_with_the_command(hub, load, tmp_path):
    folder = transformers_models.write(tmp_path / "made", "clip")
    (folder / "model.safetensors").unlink()
    hub.files["someone/tiny"] = files_in(folder) | {"model.safetensors.index.json": b"<html>"}
    with pytest.raises(WeightsError, match="cannot be read.*hf download someone/tiny model.safetensors.index"):
        load()


@pytest.fixture
def words(hub, tmp_path):
    """A repository of open_clip whose text tower and tokenizer are another's."""
    folder = tmp_path / "languages"
    folder.mkdir()
    write_multilingual(folder, ["a red car"])
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= {"hf_model_name": "someone/words", "hf_tokenizer_name": "someone/words"}
    own = {"open_clip_config.json", WEIGHTS}
    hub.files["someone/tiny"] = {name: (folder / name).read_bytes() for name in own}
    hub.files["someone/tiny"]["open_clip_config.json"] = json.dumps(config).encode()
    other = {name: body for name, body in files_in(folder).items() if name not in own}
    hub.files["someone/words"] = other | files_in(folder / "words")
    return folder


def test_a_text_tower_of_another_repository_comes_before_the_weights(words, hub, load):
    assert same(load().clip, load(str(words)).clip.state_dict())
    assert hub.got()[-1] == WEIGHTS
    hub.asked.clear()
    load()
    assert not hub.asked


@pytest.mark.parametrize("status", [401, 404, 503])
@pytest.mark.parametrize("file", ["/resolve/main/config.json", "/resolve/main/tokenizer.json", ""])
def test_parts_of_a_text_tower_that_cannot_be_had_are_missed_before_the_weights(status, file, words, hub, load):
    hub.faults[f"someone/words{file}"] = status
    said = f"someone/words.*for someone/tiny failed .{status}.*hf_model_name is a folder"
    with pytest.raises(WeightsError, match=said):
        load()
    assert WEIGHTS not in hub.got()


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_damaged_part_of_a_text_tower_is_named_with_the_command(file, words, hub, load, tmp_path):
    load()
    (damaged,) = (tmp_path / "cache" / "models--someone--words").rglob(file)
    damaged.write_text("{", encoding="utf-8")
    with pytest.raises(ModelNameError, match=f"hf download someone/words {file} --force-download"):
        load()


def run_me(marker):
    return f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n".encode()


def test_code_of_a_repository_is_neither_downloaded_nor_run(words, hub, load, tmp_path):
    files = hub.files["someone/words"]
    tokenizer = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    files["tokenizer_config.json"] = json.dumps(json.loads(files["tokenizer_config.json"]) | tokenizer).encode()
    auto_map = {"AutoConfig": "own.Own", "AutoModel": "own.Own"}
    files["config.json"] = json.dumps(json.loads(files["config.json"]) | {"auto_map": auto_map}).encode()
    files["own.py"] = run_me(tmp_path / "ran")
    tiny = hub.files["someone/tiny"]
    config = json.loads(tiny["open_clip_config.json"])
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    tiny["open_clip_config.json"] = json.dumps(config).encode()
    with contextlib.suppress(ModelNameError):  # transformers may know the tokenizer without its code
        load()
    assert "own.py" not in hub.got() and not (tmp_path / "ran").exists()


def test_code_beside_a_tokenizer_in_a_folder_is_not_run_whatever_its_configuration_wishes(words, tmp_path):
    (words / "own.py").write_bytes(run_me(tmp_path / "ran"))
    transformers_models.rewrite(words / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", "own.Own"]})
    transformers_models.rewrite(
        words / "open_clip_config.json", model_cfg__text_cfg__tokenizer_kwargs={"trust_remote_code": True}
    )
    with contextlib.suppress(ModelNameError):
        dcv.load(str(words), device="cpu")
    assert not (tmp_path / "ran").exists()


def test_an_interrupt_ends_a_download_at_once_and_leaves_nothing(hub, load, tmp_path, interruptible):
    def stopped(handler):
        handler.say(200, b"x" * 100, **{"Content-Length": "9999", "X-Repo-Commit": COMMIT})
        os.kill(os.getpid(), signal.SIGINT)
        return silent(handler)

    hub.faults[WEIGHTS] = of_get(stopped)
    with asked_at(hub.url, patience=20), pytest.raises(KeyboardInterrupt):
        load()
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    hub.faults.clear()
    assert same(load().clip, state())


@pytest.fixture
def interruptible():
    """Ctrl-C as a terminal has it: what a shell starts behind its back ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_bars_are_drawn_in_terminals_only(hub, load, capfd, monkeypatch):
    load()
    assert capfd.readouterr() == ("", "")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    load("hf-hub:someone/tiny@v2")
    assert WEIGHTS not in terminal.getvalue()  # it is here already, under its content
    hub.files["someone/other"] = dict(REPO) | {WEIGHTS: save(state(seed=2))}
    load("hf-hub:someone/other")
    assert f"{WEIGHTS}: 100%" in terminal.getvalue()
