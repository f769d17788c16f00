"""Networks of students: a copy of the teacher to begin with, or random ones; nothing is downloaded, nothing shared."""

import socket

import pytest
import torch
from safetensors.torch import save_file

import denseclip_viz as dcv
from denseclip_viz.errors import ModelNameError, UnsupportedTowerError, WeightsError
from denseclip_viz.plus.networks import build, rebuild
from denseclip_viz.plus.schedules import SCHEDULES

SMALL = "smp:FPN:tu-test_resnet"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refused(*args, **kwargs):
        raise AssertionError("something was to be downloaded")

    for place in ("torch.hub.load_state_dict_from_url", "torch.hub.download_url_to_file"):
        monkeypatch.setattr(place, refused)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.fixture(scope="module")
def model():
    return dcv.load()


def test_a_copied_tower_sees_what_the_teacher_sees(model):
    network = build("clip-fpn", 128, teacher=model.tower).network.eval()
    pixels = model.trace(dcv.toyworld.scene("a red car on grass", size=64)).pixels[None]
    names = ("layer1", "layer2", "layer3", "layer4")
    with model.record("stem", *names) as recorded, torch.no_grad():
        model.encode_image(pixels)
    *_, stem, one, two, three, four = network.backbone(pixels)
    for name, seen in zip(names, (one, two, three, four), strict=True):
        torch.testing.assert_close(seen, recorded[name], rtol=0, atol=0)
    torch.testing.assert_close(network.backbone.visual.avgpool(stem), recorded["stem"], rtol=0, atol=0)


def test_what_a_copy_learns_leaves_the_teacher_as_it_was(model):
    before = {name: tensor.clone() for name, tensor in model.clip.state_dict().items()}
    network = build("clip-fpn", 128, teacher=model.tower).network
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    torch.optim.SGD(network.parameters(), 1.0).step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.clip.state_dict().items())
    assert not model.clip.visual.training and all(parameter.grad is None for parameter in model.clip.parameters())


@pytest.mark.parametrize("name", [SMALL, "smp:UnetPlusPlus:tu-test_resnet", "deeplabv3-mobilenet"])
def test_any_size_gives_a_grid_that_covers_it(name):
    with pytest.warns(UserWarning, match="random weights"):
        built = build(name, 8)
    assert built.network.training and built.facts["backbone"] == "random"
    stride = built.facts["stride"]
    fine = built.network.eval()(torch.zeros(1, 3, 70, 33))
    assert fine.shape == (1, 8, -(-70 // stride), -(-33 // stride))


@pytest.mark.filterwarnings("ignore:.*random weights")
def test_a_seed_decides_every_weight_and_leaves_the_callers_chance_alone():
    before = torch.get_rng_state()
    one, same, other = (build(SMALL, 4, seed=seed).network.state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_copy_of_the_teacher_begins_as_the_teacher_also_while_it_learns(model):
    network = build("clip-fpn", 128, teacher=model.tower).network
    trace = model.trace(dcv.toyworld.scene("a red car on grass", size=128))
    dense = torch.nn.functional.interpolate(trace.dense.movedim(-1, 0)[None], scale_factor=8, mode="bilinear")
    statistics = {name: tensor.clone() for name, tensor in network.named_buffers()}
    assert network.training
    torch.testing.assert_close(network(trace.pixels[None]).detach(), dense, rtol=1e-5, atol=1e-4)
    assert all(torch.equal(tensor, statistics[name]) for name, tensor in network.named_buffers())


@pytest.mark.filterwarnings("ignore:.*random weights")
def test_a_network_is_built_anew_of_its_facts(model):
    for built in (build(SMALL, 4), build("clip-fpn", 128, teacher=model.tower)):
        rebuild(built.facts).load_state_dict(built.network.state_dict())


@pytest.mark.filterwarnings("ignore:.*random weights")
def test_weights_of_a_file_go_in_whole_or_not_at_all(tmp_path):
    state = {name: tensor + 1 for name, tensor in build(SMALL, 4).network.backbone.state_dict().items()}
    save_file({**state, "fc.weight": torch.zeros(2, 2)}, tmp_path / "backbone.safetensors")
    built = build(SMALL, 4, weights=tmp_path / "backbone.safetensors")
    assert all(torch.equal(tensor, state[name]) for name, tensor in built.network.backbone.state_dict().items())
    assert built.facts["backbone"] == "backbone.safetensors" and len(built.facts["backbone_hash"]) == 16
    first, *_ = state
    wrong = {name: tensor for name, tensor in state.items() if name != first} | {"strange": torch.zeros(1)}
    save_file(wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(WeightsError, match=rf"missing: {first}; unexpected: strange"):
        build(SMALL, 4, weights=tmp_path / "wrong.safetensors")


@pytest.mark.parametrize("name", ["resnet50", "smp", "smp:FPN", "smp:SAM:resnet18", "smp:FPN:nothing", None])
def test_a_network_that_there_is_not_is_named_with_those_there_are(name):
    with pytest.raises(ModelNameError, match=r"smp:|get_encoder_names"):
        build(name, 4)


def test_a_copy_needs_a_resnet_to_copy(model):
    with pytest.raises(WeightsError, match="without a teacher"):
        build("clip-fpn", 4)
    with pytest.raises(WeightsError, match="weights for clip-fpn"):
        build("clip-fpn", 128, teacher=model.tower, weights="any.safetensors")
    with pytest.raises(WeightsError, match="4 dimensions for clip-fpn of embeddings of 128"):
        build("clip-fpn", 4, teacher=model.tower)
    with pytest.raises(UnsupportedTowerError, match="Choose another network"):
        build("clip-fpn", 128, teacher=dcv.load("bundled-vit").tower)


@pytest.mark.filterwarnings("ignore:.*random weights")
@pytest.mark.parametrize("name", sorted({schedule.network for schedule in SCHEDULES.values()}))
def test_the_network_of_every_published_schedule_is_one_that_there_is(model, name):
    assert build(name, 128, teacher=model.tower).facts["name"] == name
