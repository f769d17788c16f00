"""Private copies of a structure: same weights, nothing shared that can be set, and hooks that see real passes only."""

from types import MethodType

import pytest
import tiny
import torch
from state import fingerprint
from torch import nn

from denseclip_viz.clip.towers.shadow import at_input_size, shared_copy


def test_hooks_with_options_are_the_copys_own():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *_, **__: None, with_kwargs=True, always_call=True)
    other = shared_copy(layer)
    other.register_forward_hook(lambda *_, **__: None, with_kwargs=True, always_call=True)
    other.register_forward_pre_hook(lambda *_, **__: None, with_kwargs=True)
    assert len(layer._forward_hooks_with_kwargs) == len(layer._forward_hooks_always_called) == 1
    assert len(other._forward_hooks_with_kwargs) == 2 and not layer._forward_pre_hooks_with_kwargs


def test_a_method_that_was_put_on_a_module_belongs_to_the_copy_there():
    class Scaled(nn.Module):
        factor = 2

    def forward(self, x):
        return self.factor * x

    module = Scaled()
    module.forward = MethodType(forward, module)
    other = shared_copy(module)
    other.factor = 3
    assert module(1) == 2 and other(1) == 3


def test_containers_of_a_copy_can_be_changed_and_a_compiled_call_stays_behind():
    module = nn.Linear(2, 2)
    module.sizes = {"img_size": [1, 2]}
    module._compiled_call_impl = lambda x: "compiled for the original"
    other = shared_copy(module)
    other.sizes["img_size"] = None
    assert module.sizes == {"img_size": [1, 2]} and other(torch.zeros(1, 2)).shape == (1, 2)


@pytest.mark.filterwarnings("ignore:torch.searchsorted")
def test_a_stem_that_is_tried_on_zeros_is_heard_by_nobody():
    from open_clip.timm_model import TimmModel

    made = {"depth": 1, "img_size": 32}
    with tiny.smaller_timm(made):
        visual = tiny.randomise(TimmModel("vitamin_small_224", 8, image_size=32, pool="avg", proj="linear"))
    heard, pixels = [], torch.from_numpy(tiny.random_pixels(64, 48))[None].float()
    visual.trunk.patch_embed.register_forward_hook(lambda _module, inputs, _output: heard.append(inputs[0]))
    visual.trunk.patch_embed.backbone.register_forward_hook(lambda _module, inputs, _output: heard.append(inputs[0]))
    before = fingerprint(visual)
    other = at_input_size(visual, (64, 48))
    assert not heard and fingerprint(visual) == before
    with torch.no_grad():
        other(pixels)
    assert len(heard) == 2 and all(torch.equal(seen, pixels) for seen in heard)


def test_running_out_of_memory_is_not_taken_for_a_size_that_cannot_be(monkeypatch):
    visual = tiny.tiny_tower("EVA02")

    def full(*_, **__):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(type(visual.trunk), "set_input_size", full)
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        at_input_size(visual, (32, 32))
