"""A real JupyterLab, or a Notebook 7, on a copy of the notebooks, driven through its own commands."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from kernels import environment, warm
from watch import SETTLED, until

SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page
}
PAGE = {"buildCheck": False, "buildAvailable": False}  # no search for a node that could build JupyterLab anew
APPS = {  # by module: where it shows a notebook alone, and the options that are its own
    "jupyterlab": (
        "doc/tree",
        ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
    ),
    "notebook": ("notebooks", []),
}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    const session = panel?.sessionContext;
    const idle = session?.isReady && session.session?.kernel?.status === 'idle';
    return Boolean(idle && panel.content.model?.cells.length);
}"""
EXPLORED = "() => Number(document.querySelector('.dcv-explorer .dcv-canvas')?.dataset.version) > 0"
# Errors outside of a cell's own run (a widget's callback, a thread) reach no cell: the page shows nothing of them.
LISTEN = """() => {
    const context = window.jupyterapp.shell.currentWidget.sessionContext;
    window.dcvPending = new Set();
    context.session.anyMessage.connect((_, {msg, direction}) => {
        const {content, header, parent_header: parent} = msg;
        if (direction === 'send' && header.msg_type === 'comm_msg') window.dcvPending.add(header.msg_id);
        if (direction === 'send' || msg.channel !== 'iopub') return;
        const kind = header.msg_type, {execution_state: state, name, text, ename, evalue} = content;
        if (kind === 'status' && state === 'idle') window.dcvPending.delete(parent.msg_id);
        if (kind === 'error') window.dcvProblem('error in the kernel', `${ename}: ${evalue}`);
        const loud = kind === 'stream' && name === 'stderr' && parent.msg_type === 'comm_msg';
        // JupyterLab asks for the widgets of every kernel; one that never imported ipywidgets answers so
        if (loud && !text.startsWith('No such comm')) window.dcvProblem('standard error of a callback', text);
    });
    context.statusChanged.connect((_, status) => {
        if (['dead', 'autorestarting'].includes(status)) window.dcvProblem('kernel', status);
    });
}"""
SELDOM = 100  # milliseconds between looks at what takes a kernel seconds; each frame is the default
RUN_ALL = """() => {
    window.dcvRan = undefined;
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(
        () => { window.dcvRan = true }, error => { window.dcvRan = String(error) });
}"""
CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => {
    const {type, executionCount: count = null, sharedModel: {source}} = cell.model;
    const outputs = type === 'code' ? cell.model.outputs.toJSON() : [];
    const errors = outputs.filter(out => out.output_type === 'error').map(out => `${out.ename}: ${out.evalue}`);
    return {type, source, count, outputs, errors};
})"""
ASK = """async expression => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const future = kernel.requestExecute({
        code: '', silent: true, store_history: false,
        user_expressions: {answer: `__import__('json').dumps(${expression})`},
    });
    return (await future.done).content.user_expressions.answer;
}"""
THEME = "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"


@dataclass
class Lab:
    """A running JupyterLab or Notebook 7: where it is, the folder that it shows, and where it shows a notebook."""

    url: str
    token: str
    folder: Path
    shows: str

    def open(self, page, name):
        """Open a notebook alone in the page and wait until its kernel is idle; stored outputs stay as they are."""
        page.goto(f"{self.url}/{self.shows}/{name}?reset&token={self.token}")
        page.wait_for_function(READY, timeout=120_000, polling=SELDOM)
        page.evaluate(LISTEN)

    def run_all(self, page, *, seconds=300):
        """Run every cell and wait for the end; fails when one of them did, or none ran."""
        page.evaluate(RUN_ALL)
        page.wait_for_function("() => window.dcvRan !== undefined", timeout=seconds * 1000, polling=SELDOM)
        code = [cell for cell in self.cells(page) if cell["type"] == "code" and cell["source"].strip()]
        assert [error for cell in code for error in cell["errors"]] == []
        assert page.evaluate("() => window.dcvRan") is True
        page.wait_for_function(READY, timeout=seconds * 1000)
        assert [cell["count"] for cell in code] == list(range(1, len(code) + 1))

    def cells(self, page):
        """What the open notebook holds: type, source, count, outputs, errors of each cell."""
        return page.evaluate(CELLS)

    def ask(self, page, expression):
        """The value of a Python expression in the notebook's kernel, by way of JSON."""
        answer = page.evaluate(ASK, expression)
        assert answer["status"] == "ok", f"{expression}: {answer.get('ename')}: {answer.get('evalue')}"
        return json.loads(_literal(answer["data"]["text/plain"]))

    def settled(self, page, name):
        """Wait until the kernel has answered all that the page sent, and what it calls so has no work left."""
        page.wait_for_function(SETTLED)
        until(page, lambda: not self.ask(page, f"{name}.busy"))

    def theme(self, page, name):
        """Choose JupyterLab's theme, "Light" or "Dark", and wait until the page wears it."""
        page.evaluate(THEME, f"JupyterLab {name}")
        light = str(name == "Light").lower()
        page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)

    def write(self, name, *sources):
        """Make a notebook of code cells in the folder, for a test of its own."""
        import nbformat

        cells = [nbformat.v4.new_code_cell(source, id=f"cell-{at}") for at, source in enumerate(sources)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), self.folder / name)
        return name

    def end_kernels(self):
        """End every session, so that notebooks do not pile up in memory."""
        for session in json.loads(self._call("GET", "/api/sessions")):
            self._call("DELETE", f"/api/sessions/{session['id']}")

    def _call(self, method, path):
        header = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=header)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()


def _literal(text):
    from ast import literal_eval

    return literal_eval(text)


@contextmanager
def running(folder, private, app="jupyterlab"):
    """Run an app on `folder`, with everything that it keeps in `private`; at the end nothing of it is left."""
    port, token = _free_port(), secrets.token_hex(16)
    _write_settings(private / "settings")
    variables = _environment(private, token)
    log = private / "server.log"
    with _kernels(app, variables) as (kernels, _):
        with log.open("wb") as written:
            server = subprocess.Popen(
                _command(app, folder, port), cwd=folder, env=variables | {"JUPYTER_PATH": kernels},
                stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        lab = Lab(f"http://127.0.0.1:{port}", token, folder, APPS[app][0])
        try:
            _wait(lab, server, log)
            yield lab
        finally:
            _end(server)


def _kernels(app, environment):
    """Warm ones where many run; Notebook 7 runs one, and runs it as people do."""
    return warm(environment) if app == "jupyterlab" else nullcontext(("", None))


def _command(app, folder, port):
    return [
        sys.executable, "-m", app, "--no-browser", "--expose-app-in-browser", "--allow-root",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}", "--ServerApp.terminals_enabled=False",
        *APPS[app][1],
    ]  # fmt: skip


def _environment(private, token):
    """Ours, without what the user set for Jupyter; kernels import the package under test."""
    import matplotlib

    user = ("JUPYTER", "IPYTHON", "XDG_")
    kept = {name: value for name, value in environment(private).items() if not name.startswith(user)}
    folders = {
        name: str(private / name.lower())
        for name in (
            "HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR",
        )
    }  # fmt: skip
    for path in folders.values():
        Path(path).mkdir(mode=0o700)
    _write_json(private / "jupyter_config_dir" / "labconfig" / "page_config.json", PAGE)
    return {
        **kept,
        **folders,
        "JUPYTER_TOKEN": token,
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "MPLCONFIGDIR": matplotlib.get_cachedir(),  # listing the fonts again takes seconds
    }


def _write_settings(folder):
    for name, values in SETTINGS.items():
        _write_json(folder / f"{name}.jupyterlab-settings", values)


def _write_json(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(lab, server, log, *, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError):
            lab._call("GET", "/api/status")
            return
        time.sleep(0.1)
    raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _end(server):
    """Ask first: the server ends its kernels, which are process groups of their own."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        server.terminate()
        server.wait(15)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(15)
