"""A real Chromium on a real JupyterLab: `page`, `offline_page`, `open_page` and `lab`.

A page fails its test on page errors, console errors, requests that leave the machine, errors in the kernel outside of
a cell, and what a widget's output area swallowed. `page.watch.expect(pattern)` names one that is provoked on purpose.
Without a Chromium these tests are skipped, or fail where DCV_BROWSER=required or CI says that they must run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from lab import running
from watch import HOW_TO_GET_IT, chromium_path, image, launch, required, watched

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SKIPPED = []


@pytest.fixture(scope="session")
def chromium():
    """One Chromium for all tests."""
    if chromium_path() is None:
        if required():
            pytest.fail(HOW_TO_GET_IT)
        SKIPPED.append(True)
        pytest.skip(HOW_TO_GET_IT)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(chromium, tmp_path_factory):
    """One JupyterLab for all tests, on a copy of the notebooks: `lab.open(page, name)`, `lab.run_all(page)`."""
    private = tmp_path_factory.mktemp("jupyter")
    folder = private / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(".*"))
    with running(folder, private) as started:
        yield started


@pytest.fixture
def open_page(chromium, request):
    """Open one more watched page: `open_page(color_scheme="dark", device_scale_factor=2)`."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        opened = []

        def call(**options):
            name = f"{request.node.name}{f'-{len(opened)}' if opened else ''}"
            opened.append(stack.enter_context(watched(chromium, name=name, **options)))
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
        terminalreporter.line(f"{HOW_TO_GET_IT}{os.linesep}")
