"""Attributions, against a second way: the whole tower with its graph, loops, one text at a time."""

import threading
import weakref

import numpy as np
import oracle
import oracle_attributions as second
import pytest
import tiny
import torch
from state import fingerprint

import denseclip_viz as dcv
from denseclip_viz.attribution.attributions import METHODS, attribution_maps, offered
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.errors import DenseclipVizError, GeometryError, LayerError

ATTENDS = ("gradient-x-activation", "grad-cam", "grad-eclip", "relevance")
CLASS_TOKEN = ("ViT", "EVA01", "EVA02", "EVA02-E", "MobileCLIP-B", "MobileCLIP2-L", "relpos")
LATENT = ("SigLIP", "PE", "CoCa")
MEAN = ("ConvNeXt", "ConvNeXt-mlp", "FastViT", "Swin", "GAP", "CLIPA", "norm before mean")
SCENE = dcv.toyworld.scene("a red car on grass", 64)
PROMPTS = dcv.Prompts(["a red car", "grass"], ["{}", "a photo of {}"])


def built(kind, **options):
    if kind == "ResNet":
        return tiny.tiny_resnet(**options).visual
    return tiny.tiny_vit(**options).visual if kind == "ViT" else tiny.tiny_tower(kind, **options)


def inputs(visual, count=3, dtype=torch.float64):
    side = tiny.native_side(visual)
    pixels = torch.from_numpy(tiny.random_pixels(side, side)).to(dtype)
    with torch.no_grad():
        out = visual(pixels[None])
    width = (out[0] if isinstance(out, tuple) else out).shape[-1]
    texts = torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    return pixels, torch.cat([texts, -texts])  # what ReLU cuts off for a text is there for its opposite


@pytest.mark.parametrize("kind", ["ResNet", *CLASS_TOKEN, *LATENT])
def test_every_map_equals_the_second_way(kind):
    visual = built(kind)
    pixels, texts = inputs(visual)
    maps = attribution_maps(tower_for(visual), pixels, texts, offered(tower_for(visual)))
    seen = second.Seen(visual, pixels)
    for method, ours in maps.items():
        theirs = np.stack([second.attribute(seen, text, method, ours[0].numel()) for text in texts])
        assert theirs.any(), method
        assert oracle.relative_error(ours.flatten(1).numpy(), theirs) < 1e-12, method


@pytest.mark.parametrize("kind", MEAN)
def test_a_plain_mean_has_the_maps_of_what_it_averages(kind):
    visual = built(kind)
    pixels, texts = inputs(visual)
    tower = tower_for(visual)
    assert offered(tower) == ("gradient-x-activation", "grad-cam")
    maps = attribution_maps(tower, pixels, texts, offered(tower))
    pooled = tower.taps()["pool.input"]
    kept = []
    hook = pooled.module.register_forward_hook(lambda _m, i, o: kept.append(pooled.raw(i, o)))
    with torch.enable_grad():
        embedding = visual(pixels[None].clone().requires_grad_())[0]
        scores = [torch.cosine_similarity(embedding, text, dim=0) for text in texts]
    hook.remove()
    for row, score in enumerate(scores):
        (gradient,) = torch.autograd.grad(score, kept[0], retain_graph=True)
        both = [pooled.channels_first(part.detach()) for part in (kept[0], gradient)]
        positions = maps["grad-cam"][0].numel()
        flat = [p.flatten(2)[0].T if p.ndim == 4 else p[0, -positions:] for p in both]
        product, cam = (flat[0] * flat[1]).sum(1), (flat[0] * flat[1].mean(0)).sum(1).clamp_min(0)
        assert oracle.relative_error(maps["gradient-x-activation"][row].flatten().numpy(), product.numpy()) < 1e-10
        assert oracle.relative_error(maps["grad-cam"][row].flatten().numpy(), cam.numpy()) < 1e-10


MISTAKES = {
    "relevance of the block before": ("relevance", lambda s, t, n: second.relevance(s, t, layer=-2)[-n:]),
    "relevance without ReLU": ("relevance", lambda s, t, n: second.relevance(s, t, relu=False)[-n:]),
    "relevance summed over heads": ("relevance", lambda s, t, n: second.relevance(s, t, mean=False)[-n:]),
    "relevance with the class token": ("relevance", lambda s, t, n: second.relevance(s, t)[:n]),
    "relevance-all without ReLU": ("relevance-all", lambda s, t, n: second.relevance_all(s, t, relu=False)[-n:]),
    "relevance-all from the second": (
        "relevance-all",
        lambda s, t, n: second.relevance_all(s, t, blocks=slice(1, None))[-n:],
    ),
    "legrad of all blocks": ("legrad", lambda s, t, n: second.legrad(s, t, blocks=3)[-n:]),
    "legrad without ReLU": ("legrad", lambda s, t, n: second.legrad(s, t, relu=False)[-n:]),
    "legrad of the class token": ("legrad", lambda s, t, n: second.legrad(s, t, class_alone=True)[-n:]),
    "grad-eclip without ReLU": ("grad-eclip", lambda s, t, n: second.grad_eclip(s, t, positions=n, relu=False)),
    "grad-eclip, heads swapped": ("grad-eclip", lambda s, t, n: second.grad_eclip(s, t, positions=n, swapped=True)),
    "grad-cam without ReLU": ("grad-cam", lambda s, t, n: second.grad_cam(s, t, n, relu=False)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_shows(mistake):
    visual = built("ViT")
    pixels, texts = inputs(visual)
    method, wrong = MISTAKES[mistake]
    ours = attribution_maps(tower_for(visual), pixels, texts, [method])[method].flatten(1).numpy()
    seen = second.Seen(visual, pixels)
    theirs = np.stack([wrong(seen, text, ours.shape[1]) for text in texts])
    assert oracle.relative_error(ours, theirs) > 1e-3


@pytest.mark.parametrize("kind", ["ResNet", "ViT", "EVA02", "SigLIP"])
def test_single_precision_is_as_good_as_it_can_be(kind):
    exact, visual = built(kind), built(kind, dtype=torch.float32)
    visual.load_state_dict(exact.state_dict())
    pixels, texts = inputs(exact)
    methods = offered(tower_for(exact))
    double = attribution_maps(tower_for(exact), pixels, texts, methods)
    single = attribution_maps(tower_for(visual), pixels.float(), texts.float(), methods)
    for method in methods:  # attention is sharpened: what enters a softmax comes out larger
        assert single[method].dtype == torch.float32
        assert oracle.relative_error(single[method].double().numpy(), double[method].numpy()) < 1e-4, method


@pytest.mark.parametrize("kind", ["ResNet", "ViT", "EVA02", "SigLIP", "ConvNeXt"])
def test_a_method_alone_and_a_text_alone_get_the_maps_that_they_get_together(kind):
    visual = built(kind)
    tower = tower_for(visual)
    pixels, texts = inputs(visual)
    together = attribution_maps(tower, pixels, texts, offered(tower))
    for method in offered(tower):
        alone = attribution_maps(tower, pixels, texts[1:2], [method])[method]
        assert oracle.relative_error(alone.numpy(), together[method][1:2].numpy()) < 1e-12


@pytest.mark.parametrize("sides", [(64, 64), (40, 72)])
def test_any_size_is_seen_as_the_tower_sees_it(sides):
    visual = built("ViT")
    pixels = torch.from_numpy(tiny.random_pixels(*sides))
    maps = attribution_maps(
        tower_for(visual), pixels, torch.randn(2, 24, dtype=torch.float64), ["relevance", "rollout"]
    )
    assert {each.shape[1:] for each in maps.values()} == {(sides[0] // 8, sides[1] // 8)}


class Counted:
    """How often the whole tower ran."""

    def __init__(self, visual):
        self.count, self.hook = 0, visual.register_forward_hook(self.one)

    def one(self, *_):
        self.count += 1


@pytest.mark.parametrize("name", ["bundled-resnet", "bundled-vit", "bundled-vit-cls"])
def test_one_pass_serves_all_methods_and_prompts(name):
    model = dcv.load(name)
    model.trace(SCENE)  # a model's first image is checked against its own pass
    counted = Counted(model.clip.visual)
    maps = dcv.attribution.attribute(model, SCENE, PROMPTS)
    counted.hook.remove()
    assert counted.count == 1
    assert maps.dims == ("candidate", "template", "prompt", "y", "x")
    assert tuple(maps.candidate.values) == dcv.attribution.methods(model)
    assert dcv.attribution.methods(model) == (tuple(METHODS) if name.endswith("cls") else ATTENDS)
    assert {"cosine"} <= set(maps.unit.values) and maps.attrs["model"] and maps.attrs["geometry"]


def test_a_trace_gives_its_own_input_and_geometry():
    model = dcv.load()
    for geometry in ("native", dcv.Whole(short=96)):
        trace = model.trace(SCENE, geometry=geometry)
        of_trace = dcv.attribution.attribute(model, trace, PROMPTS)
        of_image = dcv.attribution.attribute(model, SCENE, PROMPTS, geometry=geometry)
        np.testing.assert_array_equal(of_trace, of_image)
        np.testing.assert_array_equal(of_trace.y, model.similarity(trace, PROMPTS).y)
        assert of_trace.attrs["geometry"] == of_image.attrs["geometry"]


def test_at_a_resnets_last_map_it_is_what_a_comparison_of_layers_shows():
    model = dcv.load()
    both = model.compare(SCENE, PROMPTS, layers="layer4")
    maps = dcv.attribution.attribute(model, SCENE, PROMPTS, "gradient-x-activation")
    np.testing.assert_allclose(maps[0], both.layer_global_gradient[0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda m: dcv.attribution.attribute(m, SCENE, ["x"], "rollout"), LayerError, "in front of a class token"),
        (lambda m: dcv.attribution.attribute(m, SCENE, ["x"], "grad-kam"), LayerError, "grad-kam"),
        (lambda m: dcv.attribution.attribute(m, SCENE, ["x"], []), LayerError, "some of gradient-x-activation"),
        (lambda m: dcv.attribution.attribute(m, SCENE, ["x"], ["grad-cam"] * 2), LayerError, "twice"),
        (lambda m: dcv.attribution.attribute(m, SCENE, ["x"], 3), LayerError, "methods=3"),
        (lambda m: dcv.attribution.attribute(m, SCENE, ["x"], ""), LayerError, "method ''"),
        (lambda m: dcv.attribution.attribute(m, SCENE, ["x"], geometry="tiles"), LayerError, "geometry='whole'"),
        (lambda m: dcv.attribution.attribute(m, m.trace(SCENE, geometry="tiles"), ["x"]), LayerError, "in tiles"),
        (
            lambda m: dcv.attribution.attribute(m, m.trace(SCENE), ["x"], geometry="whole"),
            GeometryError,
            "fitted already",
        ),
        (lambda m: dcv.attribution.attribute(dcv.load("bundled-vit"), m.trace(SCENE), ["x"]), LayerError, "trace"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(ask, error, words):
    with pytest.raises(error, match=words):
        ask(dcv.load())


def test_a_mean_says_why_it_has_no_relevance():
    with pytest.raises(LayerError, match="this pool is a plain mean"):
        dcv.attribution.attributions.choose_methods(tower_for(built("ConvNeXt")), "relevance")


@pytest.mark.parametrize("kind", ["ResNet", "ViT", "EVA02", "SigLIP", "ConvNeXt"])
def test_the_model_is_what_it_was_also_after_an_error(kind):
    visual = built(kind)
    tower = tower_for(visual)
    pixels, texts = inputs(visual)
    before, grad = fingerprint(visual), torch.is_grad_enabled()
    attribution_maps(tower, pixels, texts, offered(tower))
    assert fingerprint(visual) == before and not pixels.requires_grad
    assert all(parameter.grad is None for parameter in visual.parameters())

    def stop(*_):
        raise KeyboardInterrupt

    inside = second.parts_of(visual).reads if kind != "ConvNeXt" else visual.trunk.stages[-1]
    for module in (inside, visual):
        hook = module.register_forward_hook(stop)
        hung = fingerprint(visual)
        with pytest.raises(KeyboardInterrupt):
            attribution_maps(tower, pixels, texts, offered(tower))
        assert fingerprint(visual) == hung
        assert torch.is_grad_enabled() == grad
        hook.remove()
    assert fingerprint(visual) == before


@pytest.mark.parametrize("name", ["bundled-resnet", "bundled-vit", "bundled-vit-cls"])
def test_others_may_listen_meanwhile(name):
    model = dcv.load(name)
    alone, plain = dcv.attribution.attribute(model, SCENE, PROMPTS), model.trace(SCENE)
    with model.record("*") as seen:
        model.encode_image(plain.pixels[None])
    with model.record("*") as seen_now:
        heard = dcv.attribution.attribute(model, SCENE, PROMPTS)
    for one, other in zip(alone.values, heard.values, strict=True):
        assert oracle.relative_error(other, one) < 1e-4
    for tap, tensor in seen.items():
        assert oracle.relative_error(seen_now[tap].detach().numpy(), tensor.numpy()) < 1e-4, tap


def test_two_threads_get_what_each_gets_alone():
    visual = built("ViT")
    tower = tower_for(visual)
    pixels, texts = inputs(visual)
    images = [pixels, pixels.flip(-1)]
    alone = [attribution_maps(tower, image, texts, offered(tower)) for image in images]
    answers = {}

    def work(number):
        for _ in range(5):
            answers[number] = attribution_maps(tower, images[number], texts, offered(tower))

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, maps in enumerate(alone):
        for method, values in maps.items():
            assert torch.equal(answers[number][method], values), method


def test_many_texts_are_taken_in_groups(monkeypatch):
    visual = built("ViT")
    pixels, texts = inputs(visual)
    methods = offered(tower_for(visual))
    whole = attribution_maps(tower_for(visual), pixels, texts, methods)
    monkeypatch.setattr("denseclip_viz.attribution.pool_methods.BYTES", 1)
    monkeypatch.setattr("denseclip_viz.attribution.attributions.TEXTS", 4)
    for method, values in attribution_maps(tower_for(visual), pixels, texts, methods).items():
        assert oracle.relative_error(values.numpy(), whole[method].numpy()) < 1e-12


@pytest.mark.parametrize("method", ["relevance-all", "legrad"])
def test_of_many_texts_the_gradients_of_one_group_are_held(monkeypatch, method):
    visual = built("ViT")
    (pixels, texts), taken, plain = inputs(visual, 4), [], torch.autograd.grad

    def grad(*arguments, **options):
        assert not any(group() is not None for group in taken)
        gradients = plain(*arguments, **options)
        taken.extend(map(weakref.ref, gradients))
        return gradients

    monkeypatch.setattr("denseclip_viz.attribution.pool_methods.BYTES", 1)
    monkeypatch.setattr(torch.autograd, "grad", grad)
    attribution_maps(tower_for(visual), pixels, texts, [method])
    assert len(taken) >= len(texts)


def test_every_method_is_said_in_the_docstring_and_its_errors_are_ours():
    assert all(f"`{name}`" in dcv.attribution.attribute.__doc__ for name in METHODS)
    assert issubclass(LayerError, DenseclipVizError)


@pytest.mark.parametrize("kind", ["ViT", "EVA02", "SigLIP", "CoCa", "ConvNeXt"])
def test_blocks_that_would_run_again_for_gradients_are_explained_as_others(kind):
    visual = built(kind)
    pixels, texts = inputs(visual, 1)
    once = attribution_maps(tower_for(visual), pixels, texts, offered(tower_for(visual)))
    visual.set_grad_checkpointing(True)
    before = fingerprint(visual)
    again = attribution_maps(tower_for(visual), pixels, texts, offered(tower_for(visual)))
    assert all(torch.equal(once[method], again[method]) for method in once) and fingerprint(visual) == before
    assert any(getattr(module, "grad_checkpointing", False) for module in visual.modules())


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_who_looks_for_anomalies_gets_the_same_maps():
    visual = built("ViT")
    pixels, texts = inputs(visual, 1)
    maps = attribution_maps(tower_for(visual), pixels, texts, offered(tower_for(visual)))
    with torch.autograd.set_detect_anomaly(True):
        watched = attribution_maps(tower_for(visual), pixels, texts, offered(tower_for(visual)))
        assert torch.is_anomaly_enabled()
    for method, values in maps.items():
        assert oracle.relative_error(watched[method].numpy(), values.numpy()) < 1e-12
