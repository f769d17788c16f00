"""A page that keeps account of everything that should not happen on it."""

from __future__ import annotations

import functools
import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Error

HERE = ("127.0.0.1", "localhost", "::1")
# In both a request that leaves the machine is noted, and goes nowhere.
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]
NOWHERE = {"http": "127.0.0.1", "http_port": 9, "ssl": "127.0.0.1", "ssl_port": 9, "type": 1}
PREFERENCES = {
    **{f"network.proxy.{name}": value for name, value in NOWHERE.items()},
    "browser.download.alwaysOpenPanel": False,  # it would take the keys of the tests that follow
}


@dataclass(frozen=True)
class Engine:
    """A browser of the system's: what people call it, how it is named and got, and the options that start it."""

    title: str
    variable: str
    package: str
    commands: tuple[str, ...]
    options: dict

    def path(self):
        """Where it is on this machine, or None."""
        named = os.environ.get(self.variable)
        return shutil.which(named) if named else next(filter(None, map(shutil.which, self.commands)), None)

    def how_to_get_it(self):
        return (
            f"no {self.title} was found: install it (Debian, Ubuntu: `apt-get install {self.package}`), or name it: "
            f"{self.variable}=/path/to/{self.commands[0]}"
        )


ENGINES = {
    "chromium": Engine(
        "Chromium", "DCV_CHROMIUM", "chromium",
        ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"), {"args": FLAGS},
    ),
    # playwright's own Firefox is patched; this is the one that people have, driven over WebDriver BiDi
    "firefox": Engine(
        "Firefox", "DCV_FIREFOX", "firefox-esr", ("firefox-esr", "firefox"),
        {"channel": "moz-firefox", "firefox_user_prefs": PREFERENCES},
    ),
}  # fmt: skip
# What a widget's callback says on standard error is seen by nobody, wherever it ends up.
SWALLOWED = """() => [...document.querySelectorAll(
    '.jupyter-widgets [data-mime-type="application/vnd.jupyter.stderr"],' +
    '.jupyter-widgets [data-mime-type="application/vnd.jupyter.error"]')].map(node => node.textContent.trim())"""

SLIDE = """(node, value) => {
    node.value = value;
    for (const kind of ['input', 'change']) node.dispatchEvent(new Event(kind, {bubbles: true}));
}"""
SETTLED = "() => !(window.dcvPending?.size > 0)"  # the kernel has answered everything that the page's widgets sent


def required():
    """Whether this machine promised to run the browser tests."""
    return os.environ.get("DCV_BROWSER") == "required" or os.environ.get("CI", "").lower() in ("1", "true", "yes")


def launch(playwright, name="chromium"):
    """A headless browser of the system's, with a profile of its own."""
    engine = ENGINES[name]
    try:
        return getattr(playwright, name).launch(executable_path=engine.path(), headless=True, **engine.options)
    except Error as error:
        if "unknown command" not in str(error):
            raise
        raise OSError(f"{engine.path()} is older than its driver: run apt-get update, and install it again") from error


class Watch:
    """What went wrong on a page until now; `expect(pattern)` takes out what a test provokes on purpose."""

    def __init__(self, page, *, offline):
        self.page, self.offline, self.problems, self.expected, self.told = page, offline, [], [], []
        page.on("pageerror", lambda error: self.note("page error", error))
        page.on("console", lambda line: line.type == "error" and self.note("console error", _said(line)))
        page.on("request", lambda request: self._sent(request.url))
        page.on("websocket", lambda socket: self._sent(socket.url))
        page.on("crash", lambda _: self.note("crash", "the page crashed"))
        page.expose_function("dcvProblem", self.note)

    def note(self, kind, what):
        self.problems.append(f"{kind}: {what}")

    def expect(self, pattern):
        """A problem that must be there, once or more, when the page is checked."""
        self.expected.append(pattern)

    def check(self):
        """Fail with every problem that came since the last check, once the kernel is done with what the page sent."""
        self.page.wait_for_function(SETTLED, timeout=60_000)
        swallowed = [f"swallowed in a widget: {text}" for text in self.page.evaluate(SWALLOWED)]
        found, expected = self.problems + [text for text in swallowed if text not in self.told], self.expected
        self.problems, self.expected, self.told = [], [], swallowed
        left = [text for text in found if not any(re.search(pattern, text) for pattern in expected)]
        missing = [pattern for pattern in expected if not any(re.search(pattern, text) for text in found)]
        assert not left, "on the page:\n" + "\n".join(left)
        assert not missing, f"did not happen on the page: {missing}"

    def _sent(self, url):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and (self.offline or parts.hostname not in HERE):
            self.note("request that leaves the machine", url)


@contextmanager
def watched(browser, *, offline=False, name="page", **options):
    """Lend a page with `page.watch`; at the end it is drawn into DCV_SCREENSHOTS and its problems fail the test."""
    alone = offline or options
    context = _context(browser, offline=offline, **options) if alone else _online(browser)
    page = context.new_page()
    page.watch = Watch(page, offline=offline)
    try:
        yield page
        page.watch.check()
    finally:
        image(page, name)
        (context if alone else page).close()


def _context(browser, **options):
    return browser.new_context(viewport={"width": 1280, "height": 900}, **options)


@functools.cache
def _online(browser):
    """What pages of a server share: the browser compiles JupyterLab's scripts once, and not seconds for each page."""
    return _context(browser)


def image(page, name):
    """Keep a screenshot where the variable DCV_SCREENSHOTS says, if it says so."""
    folder = os.environ.get("DCV_SCREENSHOTS")
    if folder and not page.is_closed():
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-')}.png")


def until(page, answer, holds=bool):
    """The answer once it holds, or the last one after half a minute: no moment says that a page is laid out."""
    for _ in range(600):
        if holds(last := answer()):
            break
        page.wait_for_timeout(50)
    return last


def slide(control, value):
    """Set a range, as a person does by dragging; Firefox's driver fills none."""
    control.evaluate(SLIDE, str(value))


def _said(line):
    where = line.location.get("url", "")
    return f"{line.text} ({where})" if where else line.text
