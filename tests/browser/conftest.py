"""Real browsers on a real JupyterLab: `page`, `offline_page`, `open_page`, `lab` and, below them, `browser`.

A test of a page runs in every engine, one of a JupyterLab in Chromium, unless `@pytest.mark.engines("chromium",
"firefox")` names others; `pytest tests/browser -k firefox` runs what runs there.

A page fails its test on page errors, console errors, requests that leave the machine, errors in the kernel outside of
a cell, and what a widget's output area swallowed. `page.watch.expect(pattern)` names one that is provoked on purpose.
Without a browser its tests are skipped, or fail where DCV_BROWSER=required or CI says that they must run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from lab import running
from watch import ENGINES, image, launch, required, watched

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SKIPPED = set()


def pytest_generate_tests(metafunc):
    if "browser" in metafunc.fixturenames:
        metafunc.parametrize("browser", _engines(metafunc), indirect=True, scope="session")


def _engines(metafunc):
    marker = metafunc.definition.get_closest_marker("engines")
    return marker.args if marker else ["chromium"] if "lab" in metafunc.fixturenames else list(ENGINES)


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
        SKIPPED.add(engine.how_to_get_it())
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


@pytest.fixture
def offline_page(open_page):
    """A page without a network, for files: `offline_page.goto(path.as_uri())`."""
    return open_page(offline=True)


def pytest_terminal_summary(terminalreporter):
    """Say loudly what was not looked at."""
    if SKIPPED:
        terminalreporter.section("THE BROWSER TESTS WERE SKIPPED", yellow=True, bold=True)
        terminalreporter.line(os.linesep.join(sorted(SKIPPED)) + os.linesep)
