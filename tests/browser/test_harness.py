"""The harness itself: a test on a broken page must fail, and say why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from watch import ENGINES

CONFTEST = Path(__file__).parent / "conftest.py"
TESTS = CONFTEST.parents[1]
BUTTON = """import ipywidgets as w, sys
button = w.Button(description="Run").add_class("t-run")
label, out = w.Label("ready").add_class("t-status"), w.Output()
def run(_):
    {body}
button.on_click(run)
w.VBox([button, label, out])"""


def pressed(lab, page, body):
    lab.open(page, lab.write("button.ipynb", BUTTON.format(body=body)))
    lab.run_all(page)
    page.locator(".t-run").click()
    page.wait_for_function("() => document.querySelector('.t-status').textContent === 'done'")


@pytest.mark.engines("chromium", "firefox")
def test_a_button_that_works_leaves_no_problem(lab, page):
    pressed(lab, page, "label.value = 'done'")
    assert lab.ask(page, "[label.value, 1 / 4]") == ["done", 0.25]
    page.watch.check()


@pytest.mark.parametrize(("body", "problem"), [
    ("label.value = 'done'; 1 / 0", "error in the kernel: ZeroDivisionError: division by zero"),
    ("label.value = 'done'; sys.stderr.write('hidden')", "standard error of a callback: hidden"),
    ("out.append_stderr('hidden'); label.value = 'done'", "swallowed in a widget: hidden"),
])  # fmt: skip
def test_what_a_callback_swallows_fails_the_test(lab, page, body, problem):
    pressed(lab, page, body)
    with pytest.raises(AssertionError) as failed:
        page.watch.check()
    assert problem in str(failed.value)


def test_a_cell_that_fails_is_named(lab, page):
    lab.open(page, lab.write("fails.ipynb", "1 + 1", "undefined"))
    with pytest.raises(AssertionError, match="undefined"):
        lab.run_all(page)
    page.watch.expect("error in the kernel: NameError")


@pytest.mark.parametrize(("script", "problem"), [
    ("throw new Error('broken')", "page error: .*broken"),
    ("console.error('told')", "console error: told"),
    ("fetch('http://example.invalid/x').catch(() => 0)", "leaves the machine: http://example.invalid/x"),
])  # fmt: skip
def test_what_goes_wrong_on_a_page_fails_the_test(offline_page, tmp_path, script, problem):
    file = tmp_path / "page.html"
    file.write_text(f"<p>text</p><script>{script}</script>")
    offline_page.goto(file.as_uri())
    with pytest.raises(AssertionError, match=problem):
        offline_page.watch.check()


def test_what_a_test_provokes_must_happen(offline_page, tmp_path):
    file = tmp_path / "page.html"
    file.write_text("<script>console.error('told')</script>")
    offline_page.goto(file.as_uri())
    offline_page.watch.expect("console error: told")
    offline_page.watch.check()
    offline_page.watch.expect("console error: told")
    with pytest.raises(AssertionError, match="did not happen on the page"):
        offline_page.watch.check()


def test_without_a_browser_the_tests_are_skipped_loudly_or_fail_where_they_must_run(tmp_path):
    (tmp_path / "browser").mkdir()
    for name in ("conftest.py", "lab.py", "watch.py"):
        (tmp_path / "browser" / name).write_text((CONFTEST.parent / name).read_text())
    (tmp_path / "browser" / "test_it.py").write_text("def test_it(page):\n    pass\n")
    line = [sys.executable, "-m", "pytest", "-q", "-n1", "-p", "no:cacheprovider", str(tmp_path / "browser")]
    paths = f"{CONFTEST.parent}{os.pathsep}{TESTS}"
    for how, code, first in (("", 0, "THE BROWSER TESTS WERE SKIPPED"), ("required", 1, "no Firefox was found")):
        shell = {"PATH": "", "DCV_BROWSER": how, "PYTHONPATH": paths, "DCV_ENGINES": " ".join(ENGINES)}
        shell |= {one.variable: "" for one in ENGINES.values()}
        done = subprocess.run(line, env=shell, capture_output=True, text=True)
        named = [f"apt-get install {one.package}" in done.stdout for one in ENGINES.values()]
        assert (done.returncode, first in done.stdout, named) == (code, True, [True, True])
