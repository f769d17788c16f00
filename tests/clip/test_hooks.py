"""Recording: named taps, nothing left behind, nothing seen by others."""

import re
import sys
import threading

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from state import fingerprint

from denseclip_viz.clip.forward import ForwardOptions, decompose
from denseclip_viz.clip.hooks import Tap, match, record, summary
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.errors import LayerError

VIT = ["embed", *(f"blocks.{i}{part}" for i in range(12) for part in ("", ".query", ".attention", ".mlp"))]


@pytest.fixture(scope="module")
def vit():
    return tiny.tiny_vit().visual


@pytest.fixture(scope="module")
def pixels():
    return torch.from_numpy(tiny.random_pixels(32, 32))[None]


def test_names_of_taps_are_part_of_the_surface(vit):
    assert list(tower_for(tiny.tiny_resnet().visual).taps()) == [
        *("stem", "layer1.0", "layer1", "layer2.0", "layer2", "layer3.0", "layer3", "layer4.0", "layer4"),
        *("pool.query", "pool.key", "pool.value", "pool.attention", "pool.output"),
    ]
    parts = (".norm", ".query", ".key", ".value", ".attention", ".mlp", "")
    assert list(tower_for(vit).taps())[:8] == ["embed", *(f"blocks.0{part}" for part in parts)]


def test_wildcards_mean_the_layers_and_not_what_is_inside_them():
    assert match("blocks.*", VIT) == [f"blocks.{i}" for i in range(12)]
    assert match("blocks.*.mlp", VIT) == [f"blocks.{i}.mlp" for i in range(12)]


def test_negative_indices_count_from_the_end():
    assert match(["blocks.-1", "blocks.-12.mlp"], VIT) == ["blocks.0.mlp", "blocks.11"]


@pytest.mark.parametrize("wrong", ["blocks.12", "blocks.-13", "block.3", "", "layer*", 3, None, b"embed"])
def test_a_pattern_that_names_nothing_is_refused_with_what_there_is(wrong):
    with pytest.raises(LayerError):
        match([wrong], VIT)


def test_the_refusal_offers_the_closest_name():
    with pytest.raises(LayerError, match="blocks.0–11.attention.*Did you mean blocks.3.attention"):
        match("blocks.3.atention", VIT)


@pytest.mark.parametrize(("names", "hint"), [
    (VIT, "Wildcards and negative indices work: 'blocks.-1'."), (["stem", "layer1", "layer2"], "Wildcards work: '*'"),
    (["stem", "layer1.0", "layer1"], "Wildcards and negative indices work: 'layer1.-1'."),
])  # fmt: skip
def test_what_the_refusal_advises_works(names, hint):
    with pytest.raises(LayerError, match=re.escape(hint)) as refused:
        match("zzz", names)
    assert match(refused.value.fix.split("'")[1], names)


@given(st.lists(st.sampled_from(VIT), max_size=8))
def test_matching_keeps_the_towers_order_and_each_name_once(names):
    assert match(names, VIT) == [name for name in VIT if name in set(names)]


def test_a_summary_says_numbered_names_once():
    assert summary(VIT) == "embed, blocks.0–11, blocks.0–11.query, blocks.0–11.attention, blocks.0–11.mlp"


def test_recorded_attention_is_the_softmax_that_the_tower_used(vit, pixels):
    taps = tower_for(vit).taps()
    with torch.no_grad(), record(taps, ["blocks.1.*", "blocks.1", "pool.*"]) as seen:
        vit(pixels)
    assert torch.allclose(seen["blocks.1.attention"].sum(-1), torch.ones((), dtype=torch.float64))
    block = vit.transformer.resblocks[1]
    mixed = (seen["blocks.1.attention"] @ seen["blocks.1.value"]).transpose(1, 2).flatten(2)
    with torch.no_grad(), record(taps, ["blocks.0"]) as before:
        vit(pixels)
    stream = before["blocks.0"] + block.attn.out_proj(mixed)
    assert torch.allclose(stream + seen["blocks.1.mlp"], seen["blocks.1"], rtol=1e-12)
    assert seen["pool.query"].shape == (1, 3, vit.transformer.width // 3)


def test_every_call_is_kept_in_order(vit, pixels):
    with torch.no_grad(), record(tower_for(vit).taps(), ["blocks.0"]) as seen:
        vit(pixels)
        vit(2 * pixels)
    first, second = seen.calls("blocks.0")
    assert not torch.equal(first, second) and seen["blocks.0"] is second


def test_records_nest(vit, pixels):
    taps = tower_for(vit).taps()
    with torch.no_grad(), record(taps, ["blocks.2.attention"]) as outer, record(taps, ["blocks.2.attention"]) as inner:
        vit(pixels)
    assert torch.equal(outer["blocks.2.attention"], inner["blocks.2.attention"])


@pytest.mark.parametrize("build", [tiny.tiny_resnet, tiny.tiny_vit])
def test_a_trace_inside_a_record_is_recorded_rightly(build):
    visual = build().visual
    tower = tower_for(visual)
    pixels = torch.from_numpy(tiny.random_pixels(96, 96))[None]
    with torch.no_grad():
        with record(tower.taps(), list(tower.taps())) as seen:
            decomposition = decompose(tower, pixels, ForwardOptions())
        alone = decompose(tower, pixels, ForwardOptions(layers=tuple(tower.taps())))
    assert torch.allclose(decomposition.dense, alone.dense, rtol=1e-10)
    assert all(torch.allclose(seen[name], alone.layers[name], rtol=1e-10) for name in tower.taps())


def test_a_tap_that_never_fired_is_an_error(vit):
    with pytest.raises(LayerError, match="nothing was recorded at blocks.0"):
        with record(tower_for(vit).taps(), ["blocks.0"]):
            pass


def test_the_users_own_error_is_not_covered_up_by_a_silent_tap(vit):
    with pytest.raises(ZeroDivisionError), record(tower_for(vit).taps(), ["blocks.0"]):
        raise ZeroDivisionError


@pytest.mark.parametrize("build", [tiny.tiny_resnet, tiny.tiny_vit])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_at_any_layer_leaves_no_trace_on_the_model(build, error):
    visual = build().visual
    tower, pixels = tower_for(visual), torch.from_numpy(tiny.random_pixels(64, 64))[None]
    every, raised = [module for module in visual.modules() if not isinstance(module, torch.nn.ModuleList)], 0
    for broken in every:

        def fail(*_):
            raise error

        handle = broken.register_forward_hook(fail)
        before = fingerprint(visual)
        try:
            with record(tower.taps(), ["pool.*"]):
                decompose(tower, pixels, ForwardOptions(layers=(tower.layers[-1],)))
        except error:
            raised += 1  # the few modules whose weights are used without calling them raise nothing
        assert fingerprint(visual) == before
        handle.remove()
    assert raised > 0.8 * len(every)


def test_two_threads_do_not_see_each_others_records(vit, pixels):
    tower, results, barrier = tower_for(vit), {}, threading.Barrier(2)

    def work(factor):
        with torch.no_grad(), record(tower.taps(), ["blocks.*", "pool.attention"]) as seen:
            barrier.wait()
            for _ in range(20):
                decompose(tower, factor * pixels, ForwardOptions())
            results[factor] = seen

    threads = [threading.Thread(target=work, args=(factor,)) for factor in (1, 3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for factor in (1, 3):
        with torch.no_grad(), record(tower.taps(), ["blocks.*", "pool.attention"]) as alone:
            vit(factor * pixels)
        assert len(results[factor].calls("blocks.1")) == 20
        for name in alone:
            assert all(torch.allclose(call, alone[name], rtol=1e-10) for call in results[factor].calls(name))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in vit.modules())


def test_threads_that_record_one_module_at_once_all_hear_every_run():
    """Hooks were known by their address, which the next hook of another thread may have once one is gone."""
    layer = torch.nn.Linear(1, 1)
    taps, runs = {str(number): Tap(layer) for number in range(20)}, []

    def work():
        for _ in range(100):
            with record(taps, ["*"]) as seen:
                layer(torch.zeros(1))
            runs.append(len(seen.calls("3")))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    finally:
        sys.setswitchinterval(interval)
    assert runs == 400 * [1]
