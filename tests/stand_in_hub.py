"""A hub on this machine: as much of huggingface_hub's protocol as its client asks for, and misbehaviour on demand."""

import hashlib
import json
import re
import ssl
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import huggingface_hub
import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CERTIFICATE = Path(__file__).with_suffix(".pem")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+|[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_LIST = re.compile(r"/api/models/(?P<repo>.+?)(/revision/(?P<revision>[^/]+))?$")


class Hub:
    """What a test fills in: files by repository, and a fault by the end of a path; and reads: what was asked.

    A fault is a number (the status), or a function of the handler that answers in its place; it returns true where the
    answer is to go on as if nothing were wrong.
    """

    def __init__(self):
        self.files: dict[str, dict[str, bytes]] = {}
        self.faults = {}
        self.asked: list[tuple[str, str]] = []
        self.url = ""

    def got(self, method="GET"):
        """The names of the files that were asked for, in order."""
        return [path.rpartition("/")[2] for asked, path in self.asked if asked == method and "/api/" not in path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def log_message(self, *args):
        pass

    def _answer(self):
        path, hub = unquote(self.path), self.server.hub
        hub.asked.append((self.command, path))
        for end, fault in hub.faults.items():
            if path.endswith(end):
                if not callable(fault):
                    return self.say(fault)
                if not fault(self):
                    return None
        if listed := _LIST.fullmatch(path):
            return self._list(hub, **listed.groupdict())
        if asked := _FILE.fullmatch(path):
            return self._file(hub, **asked.groupdict())
        return self.say(404)

    def _list(self, hub, repo, revision):
        if (refused := self._missing(hub, repo, revision)) is not None:
            return refused
        listed = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in hub.files[repo]]}
        return self.say(200, json.dumps(listed).encode(), **{"Content-Type": "application/json"})

    def _file(self, hub, repo, revision, name):
        if (refused := self._missing(hub, repo, revision)) is not None:
            return refused
        if name not in hub.files[repo]:
            return self.say(404, **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        body = hub.files[repo][name]
        headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if span := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(span[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return self.say(206, body[start:], **headers)
        return self.say(200, body, **headers)

    def _missing(self, hub, repo, revision):
        if repo not in hub.files:
            self.say(401, **{"X-Error-Code": "RepoNotFound"})
        elif revision not in (None, "main", "v2", COMMIT):
            self.say(404, **{"X-Error-Code": "RevisionNotFound"})
        else:
            return None
        return False

    def say(self, status, body=b"", *, only=None, **headers):
        """Send an answer; of the body only so many bytes, then the connection ends."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body if only is None else body[:only])
            self.wfile.flush()
        self.close_connection = only is not None


def silent(handler, seconds=30):
    """Take the question and say nothing, until the client or the test goes away."""
    handler.server.over.wait(seconds)
    handler.close_connection = True


def of_get(fault):
    """Let HEAD go well."""
    return lambda handler: True if handler.command == "HEAD" else fault(handler)


def web_page(handler):
    """Answer as a login page of a hotel does."""
    handler.say(200, b"<!doctype html><p>Welcome", **{"Content-Type": "text/html"})


def breaks_off(body, *, after, times):
    """Send the first bytes of a file and hang up, so often; then go on."""
    left = [times]

    def fault(handler):
        if handler.command == "HEAD" or not left[0]:
            return True
        left[0] -= 1
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        status, rest = (206 if start else 200), body[start:]
        return handler.say(status, rest, only=after, **{"ETag": '"x"', "X-Repo-Commit": COMMIT})

    return fault


def slow(body, *, pieces, pause):
    """Send a file in pieces with pauses between."""

    def fault(handler):
        if handler.command == "HEAD":
            return True
        handler.say(200, b"", **{"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT})
        for start in range(0, len(body), -(-len(body) // pieces)):
            handler.wfile.write(body[start : start + -(-len(body) // pieces)])
            handler.wfile.flush()
            time.sleep(pause)
        return None

    return fault


@contextmanager
def running(*, tls=False):
    """A hub that answers at `url`, until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.hub, server.over = True, Hub(), threading.Event()
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *args: None  # clients that hang up are what the tests are about
    server.hub.url = f"http{'s' * tls}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def asked_at(url, patience=1.0):
    """The hub's client asks there, with a connection of its own, and waits for this long."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(variable, raising=False)
            patch.delenv(variable.upper(), raising=False)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        values = {"ENDPOINT": url, "HUGGINGFACE_CO_URL_TEMPLATE": url + template, "HF_HUB_OFFLINE": False}
        for name, value in (values | {"HF_HUB_ETAG_TIMEOUT": patience, "HF_HUB_DOWNLOAD_TIMEOUT": patience}).items():
            patch.setattr(constants, name, value)
        patch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda seconds: None))
        huggingface_hub.close_session()
        try:
            yield patch
        finally:
            huggingface_hub.close_session()
