"""Tiny checkpoints as people have them: folders, tags, a download cache, a network that is gone."""

import copy
import json
import socket
import warnings

import open_clip
import torch
from safetensors.torch import save_file

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "patch_size": 8, "width": 16, "head_width": 8, "layers": 2}
RESNET_VISION = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}
TINY = {"embed_dim": 8, "vision_cfg": VIT, "text_cfg": TEXT}
TINY_RESNET = {"embed_dim": 8, "vision_cfg": RESNET_VISION, "text_cfg": TEXT}


def state(config=TINY, *, seed=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return open_clip.CLIP(**copy.deepcopy(config)).state_dict()


def write_config(folder, config=TINY, **more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, **more}), encoding="utf-8")
    return folder


def same(clip, tensors):
    own = clip.state_dict()
    return own.keys() == tensors.keys() and all(torch.equal(own[key], tensors[key]) for key in own)


def gates(module):
    return {type(part).__name__ for part in module.modules() if "GELU" in type(part).__name__}


def write_folder(folder, **more):
    """A model as open_clip writes it: a configuration and a weights file."""
    made = write_config(folder, {**TINY, **more}, preprocess_cfg={"mean": [0.5, 0.5, 0.5]})
    save_file(state(), made / "open_clip_model.safetensors")
    return made


def write_cache(folder, tensors=None):
    """A download cache that holds the weights of nobody/tiny."""
    snapshot = folder / "models--nobody--tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    save_file(tensors or state(), snapshot / "open_clip_model.safetensors")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc", encoding="utf-8")
    return str(folder)


def add_name(monkeypatch, name="Tiny-8", config=TINY, **tags):
    """Gives open_clip a tiny model with these tags, until the test ends."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    known = {tag: {"url": "", "hf_hub": "nobody/tiny/", **more} for tag, more in tags.items()}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, known)
    return name


def go_offline(monkeypatch):
    """The hub moves to a port of this machine where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def openai_clip(config=TINY, *, dtype=torch.float32):
    """A model of open_clip with the entries of OpenAI's, and a mask that is in no state dict, there as here."""
    clip = open_clip.CLIP(**copy.deepcopy({**config, "quick_gelu": True})).eval().to(dtype)
    clip.attn_mask = clip._buffers.pop("attn_mask")
    for mark in ("input_resolution", "context_length", "vocab_size"):
        vars(clip).pop(mark, None)
        clip.register_buffer(mark, torch.tensor(7))
    return clip


def write_archive(path, config=TINY, *, dtype=torch.float32):
    """A TorchScript archive as OpenAI's are."""
    pixels, text = torch.zeros(1, 3, *[config["vision_cfg"]["image_size"]] * 2), torch.zeros(1, 77, dtype=torch.long)
    clip = openai_clip(config, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace_module(clip, {"forward": (pixels.to(dtype), text)}, check_trace=False).save(str(path))
    return path
