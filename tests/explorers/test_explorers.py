"""Explorers without a browser: what is asked, who answers, and what is left behind."""

import asyncio
import gc
import io
import threading
import weakref

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from state import fingerprint

import denseclip_viz as dcv
from denseclip_viz.errors import DenseclipVizError, PromptError
from denseclip_viz.explorers import session
from denseclip_viz.explorers.query import ImageSource, Query
from denseclip_viz.explorers.upload import MOST_BYTES
from denseclip_viz.explorers.worker import Worker

PROMPTS = ["a taxi", "a road"]


@pytest.fixture
def small(load_tiny):
    return load_tiny("resnet")


@pytest.fixture
def opened(small, image_file):
    """An explorer on a tiny model; closed afterwards."""
    panel = dcv.explore(small, image_file, dcv.Prompts(PROMPTS, absent="a whale"))
    yield panel
    panel.close()


def threads_that_stay(before):
    """The threads there are when those that were told to end have ended."""
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    return set(threading.enumerate())


def noise(seed, size=(40, 60)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def png(seed):
    buffer = io.BytesIO()
    Image.fromarray(noise(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def upload(panel, name, content):
    with panel.controls.image.hold_trait_notifications():
        panel.controls.image.name = name
        panel.controls.image.content = content


def on_a_loop(steps):
    """Run a coroutine as a notebook's kernel would; what is raised in the loop's callbacks is returned."""
    raised = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, what: raised.append(what.get("exception")))
        await steps()

    asyncio.run(main())
    return raised


async def settled(worker):
    while worker.busy:
        await asyncio.sleep(0.002)
    await asyncio.sleep(0)


# what is asked


def test_what_is_shown_is_what_compare_says(opened, small, image_file):
    xr.testing.assert_identical(opened.result, small.compare(image_file, dcv.Prompts(PROMPTS, absent="a whale")))


def test_enter_asks_and_typing_does_not(opened):
    opened.controls.prompts.value = "a taxi\na bus"
    assert opened.result.prompt.values.tolist() == ["a taxi", "a road", "a whale"]
    opened.controls.prompts.value += "\n"
    assert opened.result.prompt.values.tolist() == ["a taxi", "a bus", "a whale"]
    assert opened.result.absent.values.tolist() == [False, False, True]


def test_a_text_that_reaches_the_kernel_after_the_click_on_run_is_asked_for_too(opened):
    opened.controls.run.click()
    opened.controls.prompts.value = "a bus"
    assert opened.result.prompt.values.tolist() == ["a bus", "a whale"]


def test_a_new_prompt_is_answered_out_of_the_same_forward_pass(opened, small):
    passes = []
    handle = small.tower.visual.register_forward_pre_hook(lambda *_: passes.append(1))
    layers = small.tower.visual.layer4.register_forward_pre_hook(lambda *_: passes.append(1))
    opened.controls.prompts.value = "a bus\n"
    opened.controls.templates.value = "scene"
    opened.canvas.state = {"opacity": 0.2, "prompt": "a bus"}
    handle.remove(), layers.remove()
    assert (opened.result.sizes["template"], passes) == (5, [])
    assert "there is a bus in the scene." in opened.shown.query.prompts.texts[0]


def test_another_geometry_takes_one_pass_and_key_smoothing_shows_its_segments(opened, small, image_file):
    opened.controls.geometry.value = "whole"
    assert opened.trace.geometry.mode == "whole"
    opened.canvas.state = {"view": "gap"}
    opened.controls.smooth.value = True
    assert opened.canvas.state["view"] == "segments"
    trace = small.trace(image_file, geometry="whole", keys="key")
    said = small.segment(trace, opened.shown.query.prompts, smooth="cosine", size=trace.image.shape[:2])
    xr.testing.assert_identical(opened.shown.segments, said)
    opened.controls.smooth.value = False
    assert (opened.shown.segments, opened.canvas.state["view"]) == (None, "gap")


@pytest.fixture
def counted(load_tiny, image_file):
    """Open an explorer on a class-token model whose passes are counted; closed afterwards."""
    model, passes, panels = load_tiny("vit"), [], []
    handle = model.tower.visual.conv1.register_forward_hook(lambda *_: passes.append(1))

    def call(**options):
        panels.append(dcv.explore(model, image_file, dcv.Prompts(PROMPTS), **options))
        passes.clear()
        return panels[-1]

    yield call, passes
    handle.remove()
    for panel in panels:
        panel.close()


def test_all_paths_are_of_one_more_pass_and_a_switch_of_the_canvas_takes_none(counted):
    call, passes = counted
    panel = call()
    assert panel.canvas._shown.choices["path"] == [""] and "path" not in panel.result.dims
    panel.controls.paths.value = "all of the model"
    assert len(passes) == 1 and {"value", "sclip", "sc-clip"} <= set(panel.canvas._shown.choices["path"])
    assert set(panel.model.paths) - set(panel.trace.paths) == {"value-maskclip"} and "paths" in panel.shown.status
    for path in panel.trace.paths:
        panel.canvas.state = {"path": path}
    panel.controls.prompts.value = "a taxi\na road\na bus\n"
    assert (
        len(passes) == 1 and panel.result.sizes["prompt"] == 3 and panel.canvas.state["path"] == panel.trace.paths[-1]
    )


def test_paths_that_a_cell_gives_are_a_choice_and_it_may_be_hidden(counted):
    call, _ = counted
    panel = call(paths=["value", "sclip"])
    assert panel.trace.paths == ("value", "sclip") and panel.controls.paths.value == "value, sclip"
    assert [name for name, _ in panel.controls.paths.options] == ["the value path", "value, sclip", "all of the model"]
    panel.controls.paths.value = "the value path"
    assert not panel.trace.has_path_axis
    locked = call(paths="all", lock="paths")
    assert locked.controls.paths not in locked.controls.box.children and len(locked.trace.paths) > 5


def test_segments_are_refined_along_the_first_path_and_say_so(counted):
    panel = counted[0](paths=["sclip", "value"])
    panel.controls.denoise.value = True
    trace = panel.model.trace(panel.shown.query.image.image(), path="sclip")
    alone = panel.model.segment(trace, panel.shown.query.prompts, denoise=0.5, size=panel.trace.image.shape[:2])
    assert (panel.shown.segments.labels == alone.labels).all() and "along sclip" in panel.shown.status


@pytest.mark.parametrize("paths", ["nothing", ["value", "value"], [], 3])
def test_paths_that_there_are_not_are_refused_in_the_cell(small, image_file, paths):
    with pytest.raises(DenseclipVizError, match="path"):
        dcv.explore(small, image_file, PROMPTS, paths=paths)


def test_a_model_without_the_paths_says_what_to_choose(load_tiny, image_file):
    panel = dcv.explore([load_tiny("vit"), load_tiny("resnet")], image_file, PROMPTS, paths=["value", "sclip", "gem"])
    panel.controls.model.value = panel.controls.model.options[1][0]
    assert "Choose other “paths”" in panel.status.text and "Trace with" not in panel.status.text
    panel.close()


def test_own_templates_begin_as_those_before(opened):
    opened.controls.templates.value = "scene"
    opened.controls.templates.value = "own"
    assert opened.controls.own.value.splitlines() == list(dcv.prompts.template_set("scene"))
    opened.controls.own.value = "a {} by night\n"
    assert opened.result.template.values.tolist() == ["a {} by night"]


def test_synonyms_and_switches_stay_for_the_names_that_were_there(small, image_file):
    prompts = dcv.Prompts({"car": ["taxi", "bus"], "road": "road"}, background="road", articles="right")
    panel = dcv.explore(small, image_file, prompts)
    panel.run()
    assert panel.shown.query.prompts == prompts
    panel.close()


def test_one_line_is_one_prompt_as_one_text_is_in_python(opened, small, image_file):
    typed = ["a taxi, a road", '"a bus", he said']
    opened.controls.prompts.value = "\n".join([*typed, ""])
    xr.testing.assert_identical(opened.result, small.compare(image_file, dcv.Prompts(typed, absent="a whale")))
    assert opened.status.text == "“a taxi, a road” is one prompt; several go one a line."
    opened.controls.prompts.value = "a taxi\na road"
    opened.run()
    assert opened.status.text == ""


def test_the_text_that_was_sent_stands_below_the_image_where_it_is_not_what_was_typed(opened):
    opened.controls.prompts.value = "a taxi\noak"
    assert "sent" not in opened.canvas.status
    opened.controls.templates.value = "imagenet-7"
    opened.canvas.state = {"template": "itap of a {}."}
    assert opened.canvas.status.startswith("sent: “itap of a taxi.” · street.jpg")
    opened.canvas.state = {"prompt": "oak"}
    assert opened.canvas.status.startswith("sent: “itap of an oak.” · ")
    opened.canvas.state = {"template": "ensemble"}
    assert opened.canvas.status.startswith("sent: “itap of an oak.” and 6 more · ")
    note = 'Articles are set right, as with articles="right" in Python: “itap of a taxi.”, not “itap of a a taxi.”.'
    assert (opened.status.kind, opened.status.text) == ("ok", note)


def test_a_full_stop_too_many_is_told_in_the_explorer_and_not_on_standard_error(opened):
    opened.controls.prompts.value = "a taxi."
    opened.controls.templates.value = "single"  # a warning of Python would fail this test
    assert opened.status.kind == "warning" and "'a photo of a taxi..' has a full stop too many" in opened.status.text


@pytest.mark.parametrize("box", ["prompts", "absent"])
def test_a_line_that_is_typed_twice_is_refused_and_not_dropped(opened, box):
    getattr(opened.controls, box).value = "a bus\n\na  bus"
    opened.controls.run.click()
    assert (opened.status.kind, "each text once" in opened.status.text) == ("error", True)


def test_prompts_are_written_so_that_they_are_read_again(small, image_file):
    odd = ["a car, parked", "a  wide\nbus", 'a "red" bus', '"quoted"', "<img src=x onerror=alert(1)>", "ein Löwe 🦁"]
    panel = dcv.explore(small, image_file, odd)
    panel.run()
    assert panel.result.prompt.values.tolist() == odd
    panel.close()


# what goes wrong


def test_wrong_arguments_raise_in_the_cell_that_gave_them(small):
    with pytest.raises(DenseclipVizError, match=r"no-such\.jpg does not exist"):
        dcv.explore(small, "no-such.jpg")
    with pytest.raises(DenseclipVizError, match=r"of type int\. Expected a model"):
        dcv.explore(3)


def test_a_lock_that_there_is_not_says_what_there_is(small, image_file):
    with pytest.raises(PromptError, match=r"no control 'promts' to lock.*prompts, words, absent,.*opacity"):
        dcv.explore(small, image_file, PROMPTS, lock=["promts"])


def test_locked_controls_are_not_there_and_those_of_the_canvas_are_handed_on(small, image_file):
    panel = dcv.explore(small, image_file, PROMPTS, lock=["prompts", "image", "opacity"])
    shown = list(panel.controls.box.children)
    assert panel.controls.prompts not in shown and panel.controls.absent in shown
    assert panel.canvas.locked == ["opacity"]
    panel.close()


@pytest.mark.parametrize("lock", [None, 3, {"model"}])
def test_a_lock_that_is_no_list_of_names_is_refused(small, image_file, lock):
    with pytest.raises(PromptError, match="Expected names of controls"):
        dcv.explore(small, image_file, PROMPTS, lock=lock)


@pytest.mark.parametrize("typed", ["  \n", "\n\n\n\n"])
def test_our_errors_are_one_line_and_what_was_shown_stays(opened, typed):
    before = opened.result
    opened.controls.prompts.value = typed + "\n" * 5
    assert (opened.status.kind, opened.result) == ("error", before)
    assert opened.status.text.startswith("No prompt is typed. Expected at least one")


def test_other_errors_are_shown_and_raised_on(opened, monkeypatch):
    monkeypatch.setattr(opened.canvas, "show", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        opened.run()
    assert (opened.status.kind, opened.status.text) == ("error", "ZeroDivisionError: division by zero")


def test_an_error_in_the_thread_is_shown_and_reaches_the_log_of_the_loop(opened, monkeypatch):
    monkeypatch.setattr(opened.model, "compare", lambda *_, **__: 1 / 0)

    async def steps():
        opened.run()
        await settled(opened)

    assert [type(error) for error in on_a_loop(steps)] == [ZeroDivisionError]
    assert opened.status.text == "ZeroDivisionError: division by zero"


def test_an_uploaded_image_is_shown_and_its_bytes_are_let_go(opened):
    upload(opened, "cat & dog.png", png(3))
    assert opened.controls.image.content == b""
    np.testing.assert_array_equal(opened.result.image, noise(3))
    assert opened.result.attrs["image_name"] == "cat & dog.png"


def test_what_is_no_image_is_refused_and_the_last_one_stays(opened):
    before = opened.result.image
    upload(opened, "notes.png", b"not an image")
    assert "notes.png is not an image that can be read" in opened.status.text
    opened.run()
    assert opened.status.kind == "ok"
    xr.testing.assert_identical(opened.result.image, before)


def test_a_refused_file_leaves_no_name_and_no_bytes_and_the_next_run_shows_the_image_that_is_shown(opened):
    files, before = opened.controls.image, repr(opened)
    upload(opened, "notapic.jpg", b"no image")
    assert opened.status.kind == "error"
    assert (files.content, files.name, files.shown, repr(opened)) == (b"", "", "", before)
    opened.run()
    assert (opened.status.kind, repr(opened)) == ("ok", before)
    upload(opened, "cat.png", png(3))
    upload(opened, "notapic.jpg", b"no image")
    assert files.shown == "cat.png" and "cat.png" in opened.canvas.status


def test_a_file_that_is_too_large_is_refused_in_words(opened):
    assert MOST_BYTES < 10 * 2**20  # where the notebook's server would cut the connection
    opened.controls.image.refused = {"name": "big.png", "size": 12_300_000}
    assert opened.status.text.startswith("big.png has 12.3 MB. Expected at most 8 MB")


def test_words_that_the_bundled_model_never_read_are_named():
    panel = dcv.explore("bundled-resnet", prompts=["a taxi"])
    panel.controls.prompts.value = "a zebra\n"  # no warning on standard error beside: that would fail this test
    assert panel.status.kind == "warning" and "has never read 'zebra'" in panel.status.text
    panel.close()


def test_words_that_an_english_tokenizer_takes_apart_are_named(load_tiny):
    panel = dcv.explore({"tiny": load_tiny("vit")}, Image.new("RGB", (40, 30)), ["a taxi"])
    panel.controls.prompts.value = "машина\n"
    assert panel.status.kind == "warning" and "'машина' in single letters or bytes" in panel.status.text
    panel.close()


def test_lines_from_the_browser_that_come_too_late_are_let_go(opened):
    opened.controls.templates.value = "scene"
    late = {**opened.canvas.state, "template": "ensemble", "opacity": 0.3}
    opened.controls.templates.value = "none"
    opened.canvas.set_state({"state": late})
    assert (opened.canvas.state["template"], opened.canvas.state["opacity"]) == ("{}", 0.3)


# threads


def test_work_runs_beside_and_is_handed_over_on_the_loops_thread():
    where, told = {}, []
    worker = Worker(on_progress=lambda text, share: told.append((text, share, threading.get_ident())), on_error=print)

    def work(tell):
        tell("half", 0.5)
        where["work"] = threading.get_ident()
        return 7

    async def steps():
        worker.start(work, lambda value: where.update(then=threading.get_ident(), value=value))
        await settled(worker)

    before = set(threading.enumerate())
    assert on_a_loop(steps) == []
    here = threading.get_ident()
    assert (where["value"], where["then"], where["work"] != here, told) == (7, here, True, [("half", 0.5, here)])
    assert threads_that_stay(before) == before


def test_a_newer_run_supersedes_an_older_and_never_two_run_at_once():
    running, most, got = [], [], []
    worker = Worker(on_progress=lambda *_: None, on_error=got.append)

    def work(number):
        def run(tell):
            running.append(number)
            most.append(len(running))
            for _ in range(50):
                torch.ones(1) + 1
            running.remove(number)
            return number

        return run

    async def steps():
        for number in range(20):
            worker.start(work(number), got.append)
        await settled(worker)

    on_a_loop(steps)
    assert got == [19]


def test_an_interrupt_in_a_script_ends_the_work_and_leaves_nothing_running(monkeypatch):
    settled_, got = [], []
    worker = Worker(on_progress=print, on_error=got.append, on_idle=lambda: settled_.append(1))

    def endless(tell):
        while True:
            torch.ones(4) * 2

    def interrupted(futures):
        raise KeyboardInterrupt

    monkeypatch.setattr("denseclip_viz.explorers.worker.wait", interrupted)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        worker.start(endless, got.append)
    assert (worker.busy, settled_, got, threads_that_stay(before)) == (False, [1], [], before)


def test_callbacks_from_two_threads_end_with_what_was_typed_last(opened):
    """JupyterLab handles the messages of a button and of a text in two threads of the kernel."""

    async def steps():
        for number in range(20):
            texts = threading.Thread(target=setattr, args=(opened.controls.prompts, "value", f"a bus {number}"))
            clicks = threading.Thread(target=opened.controls.run.click)
            for thread in (clicks, texts)[:: 1 if number % 2 else -1]:
                thread.start()
            for thread in (clicks, texts):
                await asyncio.to_thread(thread.join)
            await settled(opened)
            assert opened.result.prompt.values[0] == f"a bus {number}"

    opened._worker._home = None

    async def at_home():
        opened._worker._home = asyncio.get_running_loop()
        await steps()

    assert on_a_loop(at_home) == []


def test_stop_ends_the_work_at_its_next_torch_call_and_leaves_no_thread():
    ended, got = threading.Event(), []
    worker = Worker(on_progress=lambda *_: None, on_error=got.append)

    def endless(tell):
        try:
            with torch.no_grad():
                while True:
                    torch.ones(4) * 2
        finally:
            torch.ones(1) + 1  # what cleans up may call torch
            ended.set()

    async def steps():
        worker.start(endless, got.append)
        await asyncio.sleep(0.05)
        assert worker.busy and worker.stop() and not worker.busy and not worker.stop()
        while not ended.is_set():
            await asyncio.sleep(0.002)

    before = set(threading.enumerate())
    on_a_loop(steps)
    assert (got, torch.is_grad_enabled()) == ([], True)
    assert threads_that_stay(before) == before


def test_a_stopped_explorer_says_so_keeps_its_image_and_leaves_the_model_as_it_was(opened, small, monkeypatch):
    before, was = fingerprint(small.clip), opened.result

    def endless(*_, **__):
        while True:
            torch.ones(4) * 2

    monkeypatch.setattr(small, "compare", endless)

    async def steps():
        opened.controls.prompts.value = "a bus"  # what is being typed stays
        opened.controls.templates.value = "imagenet-80"
        await asyncio.sleep(0.05)
        assert not opened.controls.stop.disabled
        opened.controls.stop.click()
        assert opened.controls.stop.disabled
        await asyncio.sleep(0.05)

    assert on_a_loop(steps) == []
    assert (opened.status.kind, opened.result) == ("warning", was)
    assert (opened.controls.templates.value, opened.controls.prompts.value) == ("none", "a bus")
    assert before == fingerprint(small.clip)


def test_a_run_in_the_thread_gives_the_numbers_of_the_command(opened, small, image_file):
    async def steps():
        opened.controls.prompts.value = "a bus\na {}\n"
        await settled(opened)

    assert on_a_loop(steps) == []
    with pytest.warns(UserWarning, match="looks like a template"):  # as typed all the same
        prompts = dcv.Prompts(["a bus", "a {}"], absent="a whale")
    said = small.compare(image_file, prompts)
    xr.testing.assert_allclose(opened.result, said, rtol=1e-5)


# what is left behind


def test_after_fifty_images_only_the_last_trace_lives_where_memory_has_no_room_for_more(small, image_file, monkeypatch):
    monkeypatch.setattr(session, "MEMORY", 1)
    opened = dcv.explore(small, image_file, dcv.Prompts(PROMPTS))
    seen, threads = [weakref.ref(opened.trace)], set(threading.enumerate())

    async def steps():
        for number in range(50):
            upload(opened, f"{number}.png", png(number))
            await settled(opened)
            seen.append(weakref.ref(opened.trace))

    assert on_a_loop(steps) == []
    gc.collect()
    assert [ref() is not None for ref in seen] == [False] * 50 + [True]
    assert threads_that_stay(threads) == threads
    opened.close()


def test_a_closed_explorer_lets_model_and_trace_go(load_tiny, image_file):
    model = load_tiny("resnet")
    panel = dcv.explore(model, image_file, PROMPTS)
    parts = (model, panel, panel.trace, panel.canvas, panel.controls, panel.controls.run, panel.controls.run.layout)
    refs = [weakref.ref(part) for part in parts]
    panel.close()
    del model, panel, parts
    gc.collect()
    assert [ref() for ref in refs] == [None] * 7


def test_the_model_has_no_hook_left(opened, small):
    opened.controls.geometry.value = "whole"
    opened.controls.denoise.value = True
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in small.clip.modules())


def test_the_notice_of_a_long_prompt_is_short(small, image_file):
    panel = dcv.explore(small, image_file, ["a taxi"])
    panel.controls.prompts.value = "a photo of a " + "very small " * 60 + "car\n"
    assert panel.status.kind == "error" and "tokens" in panel.status.text
    assert len(panel.status.text) < 250 and "truncate" not in panel.status.text
    panel.close()


def test_the_line_below_an_explorers_image_says_what_is_shown_and_no_time(opened):
    assert opened.canvas.status.endswith("templates") or opened.canvas.status.endswith("template")
    assert " ms" not in opened.canvas.status


def test_the_notice_counts_the_windows_of_tiles(load_tiny, image_file):
    reports, model = [], load_tiny("vit")
    query = Query(ImageSource(image_file), "vit", dcv.Prompts(["a taxi"]), geometry="tiles")
    answer = session.Session({"vit": model}).run(query, lambda *report: reports.append(report))
    count = len(answer.trace.geometry.windows)
    counted = [(text, share) for text, share in reports if "window" in text]
    assert counted[-1] == (f"looking at the image, {count} of {count} windows", 0.5)
    shares = [share for _, share in reports]
    assert shares == sorted(shares) and len(counted) == -(-count // 8)
