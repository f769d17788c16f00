"""Dense paths side by side: one pass an image, and each number what the path alone gets."""

import pytest
import torch
from contests import PROMPTS, blobs, images

import denseclip_viz as dcv
from denseclip_viz.clip.dense_path import DensePath, Term
from denseclip_viz.errors import LayerError

MINE = DensePath("mine", attention=("kk", Term("vv", 0.5)), residual=False, mlp=False, gaussian=2.0)


@pytest.fixture(scope="module")
def tiny(load_tiny):
    return load_tiny("vit")


def test_each_path_scores_as_it_does_alone_and_the_tower_runs_once_an_image(tiny):
    pairs = [(image, blobs(image)) for image in images(3)]
    paths = ["value", "sclip", "gem", MINE]

    def scores(chosen):
        candidates = dcv.measure.path_candidates(tiny, PROMPTS, chosen)
        return dcv.measure.evaluate(tiny, pairs, candidates, "average_precision", batch_size=3, progress=False).score

    tiny.trace(pairs[0][0])  # the first trace checks the tower by a pass of its own
    runs = []
    hook = tiny.clip.visual.conv1.register_forward_hook(lambda *_: runs.append(1))
    together = scores(paths)
    hook.remove()
    assert len(runs) == 1 and together.candidate.values.tolist() == ["value", "sclip", "gem", "mine"]
    for path, name in zip(paths, together.candidate.values, strict=True):
        assert (scores([path]).sel(candidate=name) == together.sel(candidate=name)).all()


def test_by_default_all_paths_of_the_model_that_one_pass_of_any_size_can_give(tiny):
    candidates = dcv.measure.path_candidates(tiny, PROMPTS)
    assert set(tiny.paths) - set(candidates.names) == {"value-maskclip"}
    assert torch.allclose(candidates.vectors.norm(dim=-1), torch.ones(len(PROMPTS)))
    for image in images(2):
        assert len(candidates.maps(tiny.trace(image, geometry="whole", **candidates.trace_options))) == len(
            candidates.names
        )


@pytest.mark.parametrize("paths", [[], ["no such path"], ["value", "value"], [3]])
def test_paths_that_there_are_not_are_refused(tiny, paths):
    with pytest.raises(LayerError, match="path"):
        dcv.measure.path_candidates(tiny, PROMPTS, paths)


def test_paths_are_compared_on_tiles_too(tiny):
    candidates = dcv.measure.path_candidates(tiny, PROMPTS, ["value", "sclip"])
    trace = tiny.trace(images(1)[0], geometry="tiles", **candidates.trace_options)
    assert candidates.maps(trace).shape == (2, len(PROMPTS), *trace.geometry.grid)
