"""What kernels of tests are started with: the package under test, one thread, nothing of the user's."""

from __future__ import annotations

import atexit
import functools
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import denseclip_viz

POSSIBLE = hasattr(os, "pidfd_open")  # on Linux; elsewhere warm kernels are plain ones
SERVER = str(Path(__file__).with_name("warm_kernels.py"))


def environment(private):
    """Variables for a kernel, or for the server that starts kernels; what it keeps lies in `private`."""
    package = str(Path(denseclip_viz.__file__).parents[1])
    return {
        **os.environ,
        **_bytecode(),
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": "1",
        "DENSECLIP_VIZ_CACHE": "off",
        "IPYTHONDIR": f"{private}/ipython",
    }


def _bytecode():
    """Where no bytecode may be written beside the sources, each kernel would compile torch anew: 15 s of one core."""
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": _kept_for_this_process()}


@functools.cache
def _kept_for_this_process():
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def warm(environment):
    """Start what forks kernels that need not import torch: a folder for JUPYTER_PATH that names them, and its process.

    `environment` is that of the imports; each kernel has its own from there on.
    """
    if not POSSIBLE:
        yield "", None
        return
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen()
        _write_spec(folder)
        number = listener.fileno()
        with subprocess.Popen(
            [sys.executable, SERVER, str(number)], env=environment, stdin=subprocess.PIPE, pass_fds=[number],
            start_new_session=True,
        ) as server:  # fmt: skip
            listener.close()  # a server that fails leaves nobody waiting
            yield folder, server.pid


def _write_spec(folder):
    from ipykernel.kernelspec import get_kernel_dict

    stand_in = [sys.executable, "-I", "-S", SERVER, f"{folder}/socket", "-f", "{connection_file}"]
    path = Path(folder) / "kernels" / "python3" / "kernel.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(get_kernel_dict() | {"argv": stand_in}))


def seconds(server):
    """Of a core, until now, by the processes that this one started and that ended; and by `server` with its kernels."""
    import psutil

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = psutil.Process(server).cpu_times()[:4] if server else ()  # on Linux those of children that ended are in it
    return usage.ru_utime + usage.ru_stime + sum(own)
