"""What a caller has set around a call changes no answer, and stays as it was: autocast, inference mode and the rest."""

import copy
import pickle
import random
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from processes import result_of
from state import torch_state

import denseclip_viz as dcv
from denseclip_viz.clip.surroundings import Surroundings, guarded
from denseclip_viz.errors import LayerError

PROMPTS = ["a red car", "grass"]
SCENE = dcv.toyworld.scene("a red car on grass", 64)


@contextmanager
def default(name, value):
    """Set a default of torch for a while, as scripts and notebooks do."""
    before = getattr(torch, f"get_default_{name}")()
    getattr(torch, f"set_default_{name}")(value)
    try:
        yield
    finally:
        getattr(torch, f"set_default_{name}")(None if name == "device" else before)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def all_at_once():
    with (
        torch.autocast("cpu", torch.bfloat16),
        torch.inference_mode(),
        default("dtype", torch.float64),
        torch.device("meta"),
        np.errstate(all="raise"),
        deterministic(),
    ):
        yield


SURROUNDINGS = {
    "autocast bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast float16": lambda: torch.autocast("cpu", torch.float16),
    "no gradients": torch.no_grad,
    "gradients": torch.enable_grad,
    "inference": torch.inference_mode,
    "double by default": lambda: default("dtype", torch.float64),
    "bfloat16 by default": lambda: default("dtype", torch.bfloat16),
    "meta by default": lambda: default("device", "meta"),
    "meta here": lambda: torch.device("meta"),
    "NumPy raises": lambda: np.errstate(all="raise"),
    "deterministic": deterministic,
    "all at once": all_at_once,
    "nothing": nullcontext,
}
CALLS = {
    "trace": lambda m: m.trace(SCENE, layers="all").tensors(),
    "trace whole": lambda m: m.trace(SCENE, geometry=dcv.Whole(short=96)).tensors(),
    "trace tiles": lambda m: m.trace(SCENE, geometry="tiles").tensors(),
    "trace_many": lambda m: [trace.dense for trace in m.trace_many([SCENE, SCENE], batch_size=1)],
    "encode_image": lambda m: m.encode_image(torch.ones((1, 3, *m.preprocess.size), dtype=torch.float32, device="cpu")),
    "encode_text": lambda m: m.encode_text(PROMPTS),
    "texts.encode": lambda m: m.texts.encode(dcv.Prompts(PROMPTS, ["{}", "a photo of {}."])),
    "similarity": lambda m: m.similarity(SCENE, PROMPTS),
    "compare": lambda m: m.compare(SCENE, PROMPTS),
    "compare layers": lambda m: m.compare(SCENE, PROMPTS, layers="all"),
    "segment": lambda m: m.segment(SCENE, PROMPTS, smooth="", soft=True),
    "classify": lambda m: m.classify(SCENE, PROMPTS),
    "attribute": lambda m: dcv.attribution.attribute(m, SCENE, PROMPTS),
    "direct_effects": lambda m: dcv.attribution.direct_effects(m, SCENE, PROMPTS),
    "word_attribution": lambda m: dcv.measure.word_attribution(m, SCENE, "a red car"),
    "rank_templates": lambda m: dcv.measure.rank_templates(
        m, [SCENE, SCENE], dcv.Prompts(PROMPTS, ["{}", "a photo of {}."]), progress=False
    ).table.select_dtypes("number"),
    "Canvas": lambda m: list(map(bytes, dcv.Canvas(m.compare(SCENE, PROMPTS))._payload["buffers"].values())),
}


def numbers(answer):
    """All that an answer holds, as arrays by name."""
    if hasattr(answer, "data_vars"):
        return {name: values.values for name, values in answer.data_vars.items()}
    if isinstance(answer, dict):
        return {name: values.numpy() for name, values in answer.items()}
    answer = answer if isinstance(answer, list) else [answer]
    return {
        n: np.frombuffer(one, np.uint8) if isinstance(one, bytes) else np.asarray(one) for n, one in enumerate(answer)
    }


def state():
    autocast = [torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda", "mps", "xpu")]
    return torch_state(), random.getstate(), np.geterr(), torch.get_default_device(), autocast


@pytest.fixture(scope="module", params=["bundled-resnet", "bundled-vit"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def plain(name):
    model = dcv.load(name)
    return {call: numbers(ask(model)) for call, ask in CALLS.items()}


@pytest.mark.parametrize("around", SURROUNDINGS)
def test_no_surroundings_change_an_answer_or_are_changed_by_one(name, plain, around):
    with SURROUNDINGS[around]():
        before = state()
        model = dcv.load(name)
        for call, ask in CALLS.items():
            answer = numbers(ask(model))
            assert answer.keys() == plain[call].keys(), call
            for part, values in plain[call].items():
                assert answer[part].dtype == values.dtype, (call, part)
                np.testing.assert_array_equal(answer[part], values, err_msg=f"{call} {part}")
            assert state() == before, call


def test_figures_and_pages_are_drawn_in_any_surroundings(name, tmp_path):
    both = dcv.load(name).compare(SCENE, PROMPTS)
    plain = dcv.plot.compare(both)
    with all_at_once():
        figure, page = dcv.plot.compare(both), dcv.save_html(both, tmp_path / "page.html")
    assert page.stat().st_size > 10_000
    for axes, before in zip(figure.axes, plain.axes, strict=True):
        for image, same in zip(axes.images, before.images, strict=True):
            np.testing.assert_array_equal(image.get_array(), same.get_array())


def test_a_model_that_was_loaded_in_inference_mode_gives_gradients_outside(name):
    with torch.inference_mode():
        model = dcv.load(name)
    assert not any(parameter.is_inference() for parameter in model.clip.parameters())
    assert np.isfinite(dcv.measure.word_attribution(model, SCENE, "a red car").gradient).all()


def test_between_two_traces_the_caller_has_his_own_surroundings():
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        outside = state()
        traces = dcv.load().trace_many([SCENE, SCENE], batch_size=1)
        for _ in traces:
            assert state() == outside
        assert state() == outside


def test_surroundings_are_restored_when_a_call_fails():
    @guarded
    def fail():
        torch.set_grad_enabled(True)
        np.seterr(all="ignore")
        raise ZeroDivisionError

    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode(), torch.device("meta"):
        before = state()
        with pytest.raises(ZeroDivisionError):
            fail()
        assert state() == before


def test_restoring_twice_is_restoring_once():
    with torch.inference_mode(), np.errstate(all="raise"), torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        before, outside = state(), Surroundings()
        outside.leave()
        assert state() != before
        for _ in range(2):
            outside.restore()
            assert state() == before


def test_a_record_of_the_callers_own_pass_sees_it_in_his_surroundings():
    model = dcv.load()
    pixels = model.trace(SCENE).pixels[None]
    with model.record("layer1") as recorded, torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model.clip.encode_image(pixels)
    assert recorded["layer1"].dtype == torch.bfloat16


@pytest.mark.parametrize("part", ["", "transformer", "ln_final"])
def test_a_text_tower_in_training_mode_is_refused(part):
    model = dcv.load()
    model.clip.get_submodule(part).train()
    with pytest.raises(LayerError, match="training mode.*model.clip.eval"):
        model.texts.encode(PROMPTS)
    assert len(model.texts) == 0
    model.clip.eval()
    assert model.encode_text(PROMPTS).shape == (2, 128)


def test_an_image_tower_in_training_mode_does_not_keep_texts_from_being_read():
    model = dcv.load()
    model.clip.visual.train()
    assert model.encode_text(PROMPTS).shape == (2, 128)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # dynamo's own
def test_compiled_code_may_ask_a_model_and_a_compiled_tower_may_be_asked(name):
    model = dcv.load(name)
    plain = model.trace(SCENE, layers="all")
    images = plain.pixels[None]
    calls = [model.trace, lambda image: list(model.trace_many([image]))[0]]
    for call in calls:
        assert torch.equal(torch.compile(call, backend="eager")(SCENE).dense, plain.dense)
    twice = torch.compile(lambda pixels: 2 * model.encode_image(pixels), backend="eager")(images)
    assert torch.equal(twice, 2 * model.encode_image(images))
    model.clip.visual.compile(backend="eager")
    compiled = model.trace(SCENE, layers="all")
    assert all(torch.equal(compiled[layer], plain[layer]) for layer in plain.names)
    assert torch.allclose(model.encode_image(images)[0], plain.global_embedding, atol=1e-5)
    torch._dynamo.reset()


def pickled(model):
    return pickle.loads(pickle.dumps(model))  # noqa: S301 - our own


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_of_a_model_answers_as_the_model_does(name, copied):
    model = dcv.load(name)
    plain = model.similarity(SCENE, PROMPTS)
    other = copied(model)
    assert other.tower.visual is other.clip.visual is not model.clip.visual
    np.testing.assert_array_equal(other.similarity(SCENE, PROMPTS), plain)


def test_a_model_can_be_sent_to_another_process():
    model = dcv.load()
    np.testing.assert_array_equal(result_of(model.trace, SCENE).dense, model.trace(SCENE).dense)
