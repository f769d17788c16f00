"""Images by chance, DCV_GENERATED of them: read and traced rightly or refused, and nothing is left behind."""

import os
import warnings
from collections import Counter

import numpy as np
import pytest
from generated_images import hostile
from judge import right, unchanged

from denseclip_viz.errors import ImageError
from denseclip_viz.images import read

COUNT = int(os.environ.get("DCV_GENERATED", "150"))


@pytest.fixture(scope="module")
def models(load_tiny):
    yield from unchanged(load_tiny)


def outcome(image, model):
    """What became of it; another exception than ImageError is one here too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            upright = read(image)
        except ImageError as error:
            assert "Expected" in str(error) and "\n" not in str(error)
            return "refused"
        assert upright.mode == "RGB" and upright.info.keys() <= {"comment"}
        right(model.trace(image))
    return "read"


def test_generated_images_are_read_rightly_or_refused(models, tmp_path):
    outcomes = Counter()
    for seed in range(COUNT):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of making it
            image = hostile(seed, tmp_path)
        before = sorted(os.listdir(tmp_path))
        outcomes[outcome(image, models["resnet" if seed % 2 else "vit"])] += 1
        assert sorted(os.listdir(tmp_path)) == before, seed
        for name in before:
            (tmp_path / name).unlink()
    print(dict(outcomes))
    assert min(outcomes["read"], outcomes["refused"]) > COUNT / 5
