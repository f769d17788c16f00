"""The same evaluation in this process, in several, and over Ray: the same integers, whatever is killed."""

from __future__ import annotations

import os
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock

import numpy as np
import pytest
import torch
import xarray as xr
from contests import PROMPTS, images
from processes import killed, result_of
from worker_metrics import Counts, Numbers, Squares, number_of, same

import denseclip_viz as dcv
from denseclip_viz.errors import WorkerError
from denseclip_viz.measure import engines, processes
from denseclip_viz.measure.engines import engine_of, results_of
from denseclip_viz.measure.processes import Processes
from denseclip_viz.measure.ray_workers import Ray
from denseclip_viz.measure.remote_work import WorkerTraceback, packed

TENS = [Numbers(*range(start, start + 3)) for start in range(1, 31, 3)]


@contextmanager
def staff(work, workers=2):
    """Workers of squares; without torch they are there at once."""
    with Processes(workers).crew(packed(partial(same, work), "work"), 1, False) as (hire, most):
        with ThreadPoolExecutor(most) as talks:
            office = engines.Staff(hire, most, talks)
            try:
                yield office
            finally:
                office.stop()


def squares(answers):
    return sorted(number for _, answer in answers for number in answer.outcomes)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_killed_workers_group_is_done_again_and_nothing_twice(tmp_path, workers):
    with staff(Squares(tmp_path, once=(2, 17, 29)), workers) as office:
        assert squares(office.answers(TENS)) == [number**2 for number in range(1, 31)]


def test_a_group_that_ends_three_workers_is_named_and_the_others_are_kept(tmp_path):
    done = []
    with staff(Squares(tmp_path, always=(5,)), workers=1) as office:
        with pytest.raises(WorkerError, match="numbers 4 to 6 ended 3 workers, the last one killed by SIGKILL"):
            for _, answer in office.answers(TENS):
                done.append(answer.outcomes)
    assert done == [[1, 4, 9]]


def test_an_error_comes_with_the_workers_traceback_after_what_was_done_before_it(tmp_path):
    done = []
    with staff(Squares(tmp_path)) as office, pytest.raises(ZeroDivisionError, match="no number") as caught:
        for _, answer in office.answers([Numbers(1, 2), Numbers(3, 0), Numbers(4)]):
            done += answer.outcomes
    assert {1, 4, 9} <= set(done)
    assert isinstance(caught.value.__cause__, WorkerTraceback) and "in square" in str(caught.value.__cause__)


def test_what_a_worker_prints_is_no_answer_and_its_warnings_are_heard_here(tmp_path, capfd):
    with staff(Squares(tmp_path), workers=1) as office:
        (answer,) = [answer for _, answer in office.answers([Numbers(9)])]
    assert answer.outcomes == [81] and answer.warned == [("nine", FutureWarning)]
    assert "printed by a worker" in capfd.readouterr().err


def test_groups_are_read_as_they_are_needed(tmp_path):
    read = []

    def groups():
        for at in range(1, 40):
            read.append(at)
            yield Numbers(at)

    with staff(Squares(tmp_path)) as office:
        for done, _ in enumerate(office.answers(groups()), 1):
            assert len(read) <= done + 2 * 2, "more than two groups a worker lie in memory"


def test_no_worker_is_left_when_somebody_stops_in_the_middle(tmp_path):
    with staff(Squares(tmp_path)) as office:
        next(office.answers(TENS))
        workers = [worker for worker, _ in office.busy.values()] + office.idle
        assert workers
    assert all(worker.process.returncode is not None for worker in workers)


@pytest.mark.parametrize("engine", [0, True, 1.5, "dask", "ray:head"])
def test_an_engine_that_there_is_not_is_refused(engine):
    with pytest.raises(WorkerError, match=r"engine=2|workers=2"):
        engine_of(engine)


def test_engines_have_short_names():
    assert engine_of(3) == Processes(3) and engine_of("processes") == Processes() and engine_of("ray") == Ray()
    assert engine_of("ray://head:10001") == Ray("ray://head:10001") and engine_of(None) is None


def test_what_cannot_be_sent_is_refused_before_any_worker_starts(monkeypatch):
    monkeypatch.setattr(processes, "Process", None)
    lock = Lock()

    def work(groups):
        with lock:
            yield from ((group, group.numbers) for group in groups)

    with pytest.raises(WorkerError, match=r"metric cannot be sent to a worker \(.*lock.*without an engine"):
        list(results_of(Processes(2), work, TENS))


def test_ray_that_is_not_installed_is_asked_for_by_its_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkerError, match=r'pip install "denseclip_viz\[ray\]"'):
        list(results_of(Ray(), Squares(""), TENS))


def test_more_threads_than_cpus_are_warned_of(monkeypatch):
    monkeypatch.setattr(processes, "available_cpus", lambda: 4)
    with pytest.warns(UserWarning, match=r"4 threads each take turns on 4 CPUs.*set_num_threads\(2\)"):
        with Processes(2).crew(b"", 4, False):
            pass


def test_each_worker_sees_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [processes.own_gpu(at)["CUDA_VISIBLE_DEVICES"] for at in range(3)] == ["4", "7", "4"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [processes.own_gpu(at)["CUDA_VISIBLE_DEVICES"] for at in range(3)] == ["0", "1", "0"]


def test_work_in_a_worker_runs_with_the_settings_of_the_process_that_sends_it():
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()

    def settings(groups):
        yield from ((group, (torch.get_num_threads(), torch.get_float32_matmul_precision())) for group in groups)

    try:
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("high")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of two threads on one CPU
            ((_, there),) = results_of(Processes(1), settings, [Numbers(1)])
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
    assert there == (2, "high")


def test_images_that_cannot_be_read_and_errors_are_those_of_one_process(load_tiny, tmp_path):
    broken, store = tmp_path / "broken.png", tmp_path / "scores.jsonl"
    broken.write_bytes(b"no image")
    model, given = load_tiny("vit"), [images(3)[0], broken, images(3)[1], images(3)[2]]
    templates = dcv.measure.template_candidates(model, PROMPTS)

    def peak(maps, example, trace):  # no worker can import it
        if trace.image.sum() == given[3].sum():
            raise ZeroDivisionError("half-way")
        return maps.max((1, 2, 3))

    with (
        pytest.warns(UserWarning, match="Left out: .*broken.png") as warned,
        pytest.raises(ZeroDivisionError) as caught,
    ):
        dcv.measure.evaluate(model, given, templates, peak, store=store, batch_size=2, engine=1, progress=False)
    assert [one.filename for one in warned] == [__file__] and "in peak" in str(caught.value.__cause__)
    assert store.read_text().count('"values"') == 2, "what is done is kept"


def question(folder, deadly=()):
    model, scenes = dcv.load(), dcv.toyworld.dataset(24, "test", size=64)
    prompts = dcv.Prompts(["the grass", "the sky", "a taxi"], ["{}", "a photo of {}"])
    return model, scenes, dcv.measure.template_candidates(model, prompts), Counts(str(folder), deadly)


def drive(folder, deadly, store):
    dcv.measure.evaluate(*question(folder, deadly), store=store, batch_size=4, engine=2, progress=False)


def lines_of_images(store):
    return store.read_bytes().count(b'"values"') if store.is_file() else 0


def alive(process):
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


@pytest.mark.slow  # three processes that load a model each
def test_whatever_is_killed_the_integers_are_those_of_one_process(tmp_path):
    store, deadly = tmp_path / "counts.jsonl", (2,)
    model, scenes, candidates, counts = question(tmp_path)
    assert [number_of(scene) for scene in scenes] == list(range(24))
    whole = dcv.measure.evaluate(model, scenes, candidates, counts, batch_size=4, progress=False)
    mine = f"process {os.getpid()}"
    done = partial(lines_of_images, store)
    killed(lambda: done() >= 6, drive, tmp_path, deadly, store)
    assert 6 <= done() < 24
    workers = [int(file.name.split()[1]) for file in tmp_path.glob("process *") if file.name != mine]
    until = time.monotonic() + 300
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.01)
    assert workers and not any(map(alive, workers)), "a worker ends with the process that it works for"
    assert (tmp_path / "mark scene 2").exists(), "a worker was killed too"
    _, _, _, again = question(tmp_path, deadly)
    resumed = dcv.measure.evaluate(model, scenes, candidates, again, store=store, batch_size=4, progress=False)
    xr.testing.assert_identical(resumed, whole)
    assert resumed.won.dtype == np.int64 and resumed.won.values.tobytes() == whole.won.values.tobytes()
    assert done() == 24, "no image is kept twice"


def over_ray(folder):
    """The cells won, or None where Ray did not start."""
    try:
        asked = question(folder, (13,))
        over = dcv.measure.evaluate(*asked, batch_size=4, engine=Ray(workers=2), progress=False)
    except WorkerError as error:
        if error.got.startswith("No Ray at this machine"):
            return None
        raise
    import ray

    assert not ray.is_initialized() and "RAY_USAGE_STATS_ENABLED" not in os.environ
    return over.won.values


@pytest.mark.slow  # Ray starts six processes of its own, and each worker loads a model
def test_over_ray_too_a_killed_worker_changes_nothing(tmp_path):
    pytest.importorskip("ray")
    for _ in range(3):  # Ray gives itself half a minute to start, which a busy machine may not have
        # in a process of its own: what Ray leaves open would be a failure of whichever test comes later
        if (over := result_of(over_ray, tmp_path)) is not None:
            break
    assert (tmp_path / "mark scene 13").exists() and len(list(tmp_path.glob("process *"))) == 3, "two, and one anew"
    model, scenes, candidates, counts = question(tmp_path)
    whole = dcv.measure.evaluate(model, scenes, candidates, counts, batch_size=4, progress=False)
    assert over.dtype == np.int64 and over.tobytes() == whole.won.values.tobytes()
