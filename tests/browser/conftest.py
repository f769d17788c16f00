"""Real browsers on a real JupyterLab: `page`, `offline_page`, `open_page`, `lab` and, below them, `browser`.

A test runs in Chromium, or in what `@pytest.mark.engines("chromium", "firefox")` names. DCV_ENGINES names where those
without a mark run, "chromium firefox" in both: all of them in Firefox would cost CI more than it may take.

A page fails its test on page errors, console errors, requests that leave the machine, errors in the kernel outside of
a cell, and what a widget's output area swallowed. `page.watch.expect(pattern)` names one that is provoked on purpose.
Without a browser its tests are skipped, or fail where DCV_BROWSER=required or CI says that they must run.
"""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

import pytest
from lab import running
from watch import ENGINES, image, launch, required, watched

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parents[1] / "notebooks"


def pytest_generate_tests(metafunc):
    if "browser" in metafunc.fixturenames:
        metafunc.parametrize("browser", _engines(metafunc), indirect=True, scope="session")


def pytest_xdist_make_scheduler(config, log):
    """What shares a page stays in one process: a file in an engine; and what shares JupyterLab, half of all tests."""
    from xdist.scheduler import LoadScopeScheduling

    class ByPage(LoadScopeScheduling):
        # by the text of the name: marks of groups are lost on the way from pytest 9.2 to xdist 3.8
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            engine = next((engine for engine in ENGINES if f"[{engine}" in test), "")
            return "lab" if _in_lab(Path(file).name) else f"{file} {engine}"

    return ByPage(config, log)


@functools.cache
def _in_lab(name):
    return "(lab, " in (HERE / name).read_text(encoding="utf-8")


def _engines(metafunc):
    marker = metafunc.definition.get_closest_marker("engines")
    return marker.args if marker else os.environ.get("DCV_ENGINES", "chromium").split()


@pytest.fixture(scope="session")
def playwright():
    """What drives the browsers, in a process of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(request):
    """One browser of each engine for all tests."""
    engine = ENGINES[request.param]
    if engine.path() is None:
        if required():
            pytest.fail(engine.how_to_get_it())
        pytest.skip(engine.how_to_get_it())
    with launch(request.getfixturevalue("playwright"), request.param) as started:
        yield started


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """One JupyterLab for all tests, on a copy of the notebooks: `lab.open(page, name)`, `lab.run_all(page)`."""
    private = tmp_path_factory.mktemp("jupyter")
    folder = private / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(".*"))
    with running(folder, private) as started:
        yield started


@pytest.fixture
def open_page(browser, request):
    """Open one more watched page: `open_page(color_scheme="dark", device_scale_factor=2)`."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        opened = []

        def call(**options):
            name = f"{request.node.name}{f'-{len(opened)}' if opened else ''}"
            opened.append(stack.enter_context(watched(browser, name=name, **options)))
            return opened[-1]

        yield call
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").end_kernels()


@pytest.fixture
def page(open_page):
    """A page of 1280 × 900 pixels that fails the test on anything that should not happen on it."""
    return open_page()


@pytest.fixture
def page_of_notebook(notebook, request):
    """The page of a module's `notebook`, which runs once for all its tests, watched for this test alone."""
    yield notebook
    image(notebook, request.node.name)
    notebook.watch.check()


@pytest.fixture(scope="module")
def tab(browser, request):
    """One page without a network for all tests of a file: to open another takes longer than most of them."""
    with watched(browser, name=request.path.stem.removeprefix("test_"), offline=True) as page:
        yield page


@pytest.fixture
def show(tab, tmp_path, request):
    """Open results in a module's `tab`, watched for this test alone: `show(results, fragment="", **options)`.

    A page that a test changes for good is its own: `show(results, page=offline_page)`.
    """
    from test_page import opened

    yield lambda results, *rest, page=tab, **options: opened(page, tmp_path, results, *rest, **options)
    image(tab, request.node.name)
    tab.watch.check()


@pytest.fixture
def offline_page(open_page):
    """A page without a network, for files: `offline_page.goto(path.as_uri())`."""
    return open_page(offline=True)


def pytest_terminal_summary(terminalreporter):
    """Say loudly what was not looked at, in whichever process it was skipped."""
    reasons = " ".join(str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    missing = [how for how in (engine.how_to_get_it() for engine in ENGINES.values()) if how in reasons]
    if missing:
        terminalreporter.section("THE BROWSER TESTS WERE SKIPPED", yellow=True, bold=True)
        terminalreporter.line(os.linesep.join(missing) + os.linesep)
