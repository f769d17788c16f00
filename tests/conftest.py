"""Shared by all tests: one thread (this is a test of truth, not of speed), and no display."""

import gc
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "browser")]
pytest.register_assert_rewrite("lab", "watch")
settings.register_profile("no-clock", deadline=None)  # on a busy machine an example takes what it takes
settings.load_profile("no-clock")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def nothing_is_kept_on_disk():
    """Tests of the cache name a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DENSECLIP_VIZ_CACHE", "off")
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """Local checkpoints as a user has them, by kind of pooling: "resnet", "vit", "mean", "query"."""
    import json

    import tiny
    from safetensors.torch import save_file

    made = {}
    vision = {"resnet": tiny.RESNET, "vit": tiny.VIT, "mean": tiny.MEAN, "query": tiny.QUERY}

    def folder(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            config = {"embed_dim": 24, "vision_cfg": vision[kind], "text_cfg": tiny.TEXT}
            text = json.dumps({"model_cfg": config, "preprocess_cfg": {}})
            (made[kind] / "open_clip_config.json").write_text(text)
            clip = tiny.clip_of(vision[kind], dtype=torch.float32)
            save_file(clip.state_dict(), made[kind] / "open_clip_model.safetensors")
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def load_tiny(model_folder):
    """Load one of the local checkpoints with options; every call gives a fresh model."""
    import denseclip_viz as dcv

    return lambda kind, **options: dcv.load(str(model_folder(kind)), device="cpu", **options)


@pytest.fixture(params=["resnet", "vit", "mean", "query"])
def model(request, load_tiny):
    """A fresh tiny model of each family."""
    return load_tiny(request.param)


@pytest.fixture(scope="session")
def image_file(tmp_path_factory):
    """A real JPEG, wider than high."""
    import numpy as np
    from PIL import Image

    path = tmp_path_factory.mktemp("images") / "street.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (12, 18, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((180, 120), Image.Resampling.BICUBIC).save(path, quality=95)
    return path


def pytest_collection_finish():
    """What all tests import stays, so Python's collector need not look through it time and again: a tenth of a run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(2000, 10, 200)


def pytest_unconfigure():
    gc.unfreeze()


def pytest_collection_modifyitems(items):
    """The browser comes last: its driver keeps an event loop in this thread, and other tests want their own."""
    items.sort(key=lambda item: "browser" in item.path.parts)
