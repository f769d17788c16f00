"""Many images: prepared ahead of the device, only what is asked for computed and copied, one copy a kind and batch."""

import threading
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import denseclip_viz as dcv
from denseclip_viz.clip import tracing
from denseclip_viz.clip.forward import ForwardOptions, embed, run
from denseclip_viz.clip.tracing import Tracing
from denseclip_viz.errors import GeometryError, ImageError, LayerError, RecompositionError
from denseclip_viz.progress import traced_beside
from denseclip_viz.trace import PARTS

LEAN = ("global", "dense")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Files of several sizes, one of them turned by its EXIF, and an array among them."""
    folder, rng = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    files = []
    for number, size in enumerate([(40, 60), (60, 40), (50, 50), (33, 90), (40, 60)]):
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 1 else 1
        files.append(folder / f"{number}.jpg")
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(files[-1], exif=exif)
    return [*files, rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)]


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no image")
    return path


def same(one, other, parts=PARTS):
    """Whether two traces hold the same bits."""
    names = [name for part in parts for name in PARTS[part] if name not in ("image", "rest", "even_rest")]
    tensors = all(torch.equal(getattr(one, name), getattr(other, name)) for name in names if name != "pixels")
    return tensors and one.name == other.name and one.geometry == other.geometry


@pytest.mark.parametrize("geometry", ["native", "whole", "tiles"])
def test_threads_change_no_bit(model, images, geometry):
    plain = list(model.trace_many(images, geometry=geometry, batch_size=2, workers=0))
    for workers in (1, 4, None):
        ahead = list(model.trace_many(images, geometry=geometry, batch_size=2, workers=workers))
        assert all(same(a, b) for a, b in zip(ahead, plain, strict=True))
        assert [trace.place for trace in ahead] == list(range(len(images)))


@pytest.mark.parametrize("geometry", ["native", "whole", "tiles"])
def test_what_is_kept_is_what_all_would_be_and_the_rest_says_how_to_get_it(model, images, geometry):
    options = {"geometry": geometry, "batch_size": 2}
    for full, lean in zip(
        model.trace_many(images, **options), model.trace_many(images, keep=LEAN, **options), strict=True
    ):
        for name in ("global_embedding", "dense"):
            a, b = getattr(full, name), getattr(lean, name)
            assert float((a - b).abs().max()) <= 3e-6 * float(a.abs().max())
        assert list(lean.tensors()) == ["global_embedding", "dense"] and lean.nbytes < full.nbytes / 2
        for name in ("attention", "contributions", "rest", "even", "even_rest", "pixels", "image"):
            with pytest.raises(LayerError, match=f"{name} of a trace of .* keep=\\("):
                getattr(lean, name)
        assert not hasattr(lean, "no_such_thing") and lean.name in repr(lean) and "dense" in lean._repr_html_()


def test_a_trace_answers_all_that_its_parts_are_enough_for(load_tiny, image_file):
    model = load_tiny("vit")
    full, lean = model.trace(image_file), model.trace(image_file, keep=LEAN)
    few = ["a red car", "grass"]
    np.testing.assert_allclose(model.similarity(lean, few), model.similarity(full, few), atol=1e-6)
    np.testing.assert_allclose(model.classify(lean, few), model.classify(full, few), atol=1e-6)
    segmented = model.segment(lean, few)
    assert "image" not in segmented and segmented.labels.shape == model.segment(full, few).labels.shape
    with pytest.raises(LayerError, match="contributions"):
        model.compare(lean, few)
    paths = model.trace(image_file, keep="dense", path=["value", "vanilla"])
    assert paths.with_path("vanilla").parts == {"global", "dense"}


@pytest.mark.parametrize("keep", ["density", ["dense", 3], 3, {"dense": 1}])
def test_a_part_that_there_is_not_is_refused(load_tiny, image_file, keep):
    with pytest.raises(LayerError, match="keep="):
        load_tiny("resnet").trace(image_file, keep=keep)


@pytest.mark.parametrize("workers", [-1, 1.5, "all"])
def test_a_number_of_threads_that_is_none_is_refused(load_tiny, image_file, workers):
    with pytest.raises(LayerError, match="workers="):
        list(load_tiny("resnet").trace_many([image_file], workers=workers))


@pytest.mark.parametrize("kind", ["resnet", "vit", "mean", "query"])
def test_what_is_not_kept_is_not_computed(load_tiny, kind):
    tower = load_tiny(kind).tower
    inputs = torch.rand(2, 3, *tower_size(tower))
    with Launches() as every:
        run(tower, inputs, ForwardOptions())
    with Launches() as lean:
        decomposition, _ = run(tower, inputs, ForwardOptions(parts=frozenset(LEAN)))
    assert decomposition.contributions is None and lean.count < every.count
    with Launches() as plain:
        embed(tower, inputs)
    assert lean.count <= plain.count + 24  # dense features, the finite check, and what a fused attention hides
    with Launches() as pooled:
        assert run(tower, inputs, ForwardOptions(parts=frozenset(["global"])))[0].dense is None
    assert pooled.count <= lean.count  # where the tower makes dense features beside the pooled one, nothing is saved


def tower_size(tower):
    return {"ViT class token": (32, 32), "latent query": (160, 160)}.get(tower.family, (96, 96))


class Launches(TorchDispatchMode):
    """Counts what would start a kernel, and what goes from one device to another."""

    VIEWS = set(
        "view _unsafe_view expand t transpose permute select slice unsqueeze squeeze detach split alias".split()
    )

    def __init__(self):
        super().__init__()
        self.count, self.copies = 0, Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = function._schema.name.removeprefix("aten::")
        self.count += not name.startswith("prim") and name not in self.VIEWS
        tensors = [one for one in args if isinstance(one, torch.Tensor)]
        if name in ("_to_copy", "copy_"):
            kinds = (tensors[-1].device.type, (out if name == "_to_copy" else tensors[0]).device.type)
            self.copies.update([kinds] if kinds[0] != kinds[1] else [])
        return out


@pytest.fixture
def gpu(monkeypatch):
    """Pretend that there is a GPU: shapes and devices are right, and nothing is computed."""

    class Stream:
        def record_event(self):
            return Stream()

        def synchronize(self):
            pass

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(tracing, "check_miss", lambda *_: None)  # looks at a number, and there is none
    monkeypatch.setattr(tracing, "check_once", lambda *_, **__: None)
    return FakeTensorMode(allow_non_fake_inputs=True)


def on_fake_gpu(visual, dtype):
    for module in visual.modules():
        for name, one in list(module._parameters.items()):
            if one is not None:
                like = torch.empty(one.shape, dtype=dtype, device="cuda")
                module._parameters[name] = torch.nn.Parameter(like, requires_grad=False)
        for name, one in list(module._buffers.items()):
            if one is not None:
                kind = dtype if one.is_floating_point() else one.dtype
                module._buffers[name] = torch.empty(one.shape, dtype=kind, device="cuda")
    return visual


@pytest.mark.parametrize(("kind", "dtype"), [("resnet", torch.float32), ("vit", torch.float16)])
def test_a_batch_is_copied_to_a_gpu_once_and_back_once_a_kind_however_many_images(
    load_tiny, images, gpu, kind, dtype, monkeypatch
):
    model, counts = load_tiny(kind), {}
    with gpu:
        tower = replace(model.tower, visual=on_fake_gpu(model.tower.visual, dtype))
    for device, parts in (("cpu", LEAN), ("cuda", LEAN), ("cpu", PARTS)):
        for number in (2, 8):
            options = ForwardOptions(parts=frozenset(parts))
            job = Tracing(preparation=None, options=options, device=torch.device(device))
            monkeypatch.setattr(Tracing, "tower", tower)
            batch = [model_input(model, images[0]) for _ in range(number)]
            with gpu, Launches() as seen:
                begun = job._begun((batch, torch.empty(number, 3, *tower_size(tower), pin_memory=True)))
            assert begun.result.dense.device.type == device and begun.result.dense.dtype == torch.float32
            counts[device, parts is LEAN, number] = seen.count, dict(seen.copies)
    for device, lean in (("cpu", True), ("cuda", True), ("cpu", False)):
        assert counts[device, lean, 2] == counts[device, lean, 8]
    to_gpu, back = ("cpu", "cuda"), ("cuda", "cpu")
    assert counts["cpu", True, 8][1] == {to_gpu: 1, back: 3}  # embedding, dense, and the number that checks it
    assert counts["cuda", True, 8][1] == {to_gpu: 1}
    assert counts["cpu", False, 8][1][to_gpu] == 1 and counts["cpu", False, 8][1][back] <= 12


def model_input(model, image):
    from denseclip_viz.clip.preparation import Prepared
    from denseclip_viz.geometry import Native

    geometry = Native().plan((40, 60), preprocess=model.preprocess, cell=model.tower.cell)
    return Prepared(geometry, str(image), {}, None, np.zeros((3, *model.preprocess.size), np.float32), None)


def test_one_trace_that_is_held_does_not_hold_its_batch(model, images):
    for keep in (None, LEAN):
        first, *_ = model.trace_many(images[:3], geometry="native", batch_size=3, keep=keep)
        for tensor in first.tensors().values():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_traces_on_another_device_share_their_batch_and_are_brought_back(model, images, monkeypatch):
    monkeypatch.setattr("denseclip_viz.arguments.choose_device", torch.device)
    one, other = model.trace_many(images[:2], geometry="native", device="meta", keep=LEAN)
    assert one.dense.device.type == other.dense.device.type == "meta"
    assert one.dense._base is other.dense._base is not None
    whole = model.trace(images[0], device="meta")
    assert {tensor.device.type for tensor in whole.tensors().values()} == {"meta"} and whole.to("meta") is whole


def test_a_device_that_is_not_here_is_refused(model, images):
    with pytest.raises(dcv.DenseclipVizError, match="no device"):
        model.trace(images[0], device="cuda:7")


def test_an_image_that_cannot_be_read_is_said_in_its_turn_in_the_callers_thread(load_tiny, images, broken):
    model, said, here = load_tiny("resnet"), [], threading.get_ident()

    def unreadable(image, error):
        said.append((image, error.place, threading.get_ident() == here))

    mixed = [broken, images[0], images[1], broken, None, images[2], broken]
    traces = list(model.trace_many(mixed, unreadable=unreadable, batch_size=2, workers=3))
    assert said == [(broken, 0, True), (broken, 3, True), (None, 4, True), (broken, 6, True)]
    assert [trace.place for trace in traces] == [1, 2, 5]
    traces = model.trace_many(mixed[1:], batch_size=1, workers=3)
    assert [next(traces).name, next(traces).name] == ["0.jpg", "1.jpg"]
    pytest.raises(ImageError, next, traces)


def test_an_image_that_is_too_thin_is_named_and_others_go_on(load_tiny, images):
    model, out = load_tiny("resnet"), []
    thin = np.zeros((1, 60_000, 3), np.uint8)
    with pytest.raises(ImageError, match="array 1 x 60000: The whole input .* million pixels"):
        model.trace(thin, geometry="whole")
    traces = model.trace_many([thin, images[0]], geometry="whole", unreadable=lambda image, error: out.append(image))
    assert [trace.name for trace in traces] == ["0.jpg"] and out[0] is thin
    with pytest.raises(GeometryError, match="A window"):  # of no image's making
        model.trace(thin, geometry=dcv.Tiles(window=33))


def test_what_is_beside_an_image_stays_beside_it_though_others_are_left_out(load_tiny, images, broken):
    model, out = load_tiny("resnet"), []
    pairs = [(broken, "a"), (images[0], "b"), (images[0], "c"), (broken, "d"), (broken, "e"), (images[3], "f")]
    options = {"batch_size": 2, "workers": 4}
    traced = list(traced_beside(model, [pairs], lambda beside, error: out.append(beside), **options))
    assert [beside for beside, _ in traced] == ["b", "c", "f"] and out == ["a", "d", "e"]
    assert [trace.name for _, trace in traced] == ["0.jpg", "0.jpg", "3.jpg"]


def test_an_image_in_memory_may_be_overwritten_when_the_next_one_is_asked_for(load_tiny, images):
    model, buffer, frames = load_tiny("vit"), np.empty((40, 60, 3), np.uint8), []

    def camera():
        for number in range(6):
            buffer[:] = np.random.default_rng(number).integers(0, 256, buffer.shape)
            frames.append(buffer.copy())
            yield buffer

    def opened():
        for path in images[:5]:
            with Image.open(path) as image:
                yield image

    for trace in model.trace_many(camera(), batch_size=2, workers=4):
        assert np.array_equal(trace.image, frames[trace.place])
    assert len(list(model.trace_many(opened(), batch_size=2, workers=4))) == 5


def test_threads_end_when_nobody_asks_on_or_someone_interrupts(load_tiny, images):
    model, before = load_tiny("resnet"), threading.active_count()
    traces = model.trace_many(images * 5, batch_size=2, workers=4)
    next(traces)
    assert threading.active_count() > before
    traces.close()
    assert threading.active_count() == before

    def interrupted():
        yield from images
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(model.trace_many(interrupted(), batch_size=2, workers=4))
    assert threading.active_count() == before


def test_reading_in_threads_leaves_filters_of_warnings_alone_and_warns_the_caller(load_tiny, tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (40, 40), (255, 0, 0, 100)).save(path)
    model, filters = load_tiny("resnet"), []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plain, catch = list(warnings.filters), warnings.catch_warnings.__enter__

        def entered(self):
            filters.append(threading.current_thread().name)
            return catch(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(warnings.catch_warnings, "__enter__", entered)
            list(model.trace_many([path] * 6, batch_size=2, workers=4))
        assert warnings.filters == plain
    assert not [name for name in filters if name.startswith("denseclip-viz")]
    assert {one.filename for one in caught if "transparent" in str(one.message)} == {__file__}


def test_a_tower_that_is_not_what_it_seems_is_refused_though_no_contributions_are_kept(load_tiny, image_file):
    model = load_tiny("vit")
    model.trace(image_file)  # checked once, and then somebody changes it
    norm = model.clip.visual.ln_post
    hook = norm.register_forward_hook(lambda module, inputs, output: output + 1)
    with pytest.raises(RecompositionError):
        model.trace(image_file, keep=LEAN)
    hook.remove()


def test_an_image_whose_embedding_is_no_number_is_refused_though_others_were_checked(load_tiny, image_file):
    model = load_tiny("vit")
    model.trace(image_file, keep=LEAN)
    with torch.no_grad():
        model.clip.visual.ln_post.bias[0] = float("nan")
    with pytest.raises(RecompositionError, match="NaN"):
        model.trace(image_file, keep=LEAN)


@pytest.mark.parametrize("dtype", ["bf16", "fp64"])
def test_a_half_model_gives_fp32_and_a_double_one_fp64(load_tiny, image_file, dtype):
    trace = load_tiny("vit", dtype=dtype).trace(image_file, keep=LEAN)
    due = torch.float64 if dtype == "fp64" else torch.float32
    assert trace.dense.dtype == trace.global_embedding.dtype == due
