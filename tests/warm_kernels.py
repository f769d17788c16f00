"""A fork server: it imports what a lesson takes seconds to import, and forks from there each kernel that is asked for.

In a kernel's place Jupyter starts, interrupts and ends a stand-in (`stand_in`), which hands that on to the server.
Forked are imports alone, before any thread, any shell and any choice that the environment of a kernel makes.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from types import SimpleNamespace

# Not ipywidgets, nor what imports it: as it is imported it looks for the kernel that it is in.
IMPORTED = "open_clip xarray pandas scipy.stats matplotlib.pyplot ipykernel.kernelapp denseclip_viz".split()
TQDM = ("tqdm.auto", "tqdm.autonotebook")  # they look as well, and are imported anew
INLINE = "module://matplotlib_inline.backend_inline"


def stand_in(path, *arguments):
    """Have a kernel forked, pass on the signals that mean it, and end as it ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(path)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: server.send(bytes([number])))
        socket.send_fds(server, [json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()], [0, 1, 2])
        code = int(server.recv(16) or 1)
        return code if code >= 0 else 128 - code


class Server:
    """Forks kernels, and ends each with its stand-in, and all with the process that started this one."""

    def __init__(self, listener):
        self.listener, self.kernels, self.events = listener, set(), selectors.DefaultSelector()
        self._on(listener.fileno(), self._fork)
        self._on(0, self._end)  # the end of a pipe: it can be read when the other process is no more

    def serve(self):
        """Serve; returns in the kernels alone, in each with its arguments, folder, environment and standard files."""
        while True:
            for event, _ in self.events.select()[:1]:  # it may be the end of what the next one is about
                if asked := event.data():
                    return asked

    def _on(self, number, call):
        self.events.register(number, selectors.EVENT_READ, call)

    def _fork(self):
        accepted, _ = self.listener.accept()
        asked, files, *_ = socket.recv_fds(accepted, 1 << 20, 3)
        connection = accepted.detach()
        if not (kernel := os.fork()):
            self.listener.detach()
            for number in {connection, *self.events.get_map()} - {0}:
                os.close(number)
            self.events.close()
            return *json.loads(asked), files
        os.setpgid(kernel, kernel)  # what a kernel starts is signalled with it
        self.kernels.add(kernel)
        for number in files:
            os.close(number)
        process = os.pidfd_open(kernel)
        self._on(connection, partial(self._pass_on, kernel, connection))
        self._on(process, partial(self._ended, kernel, connection, process))

    def _pass_on(self, kernel, connection):
        number = os.read(connection, 1)
        os.killpg(kernel, number[0] if number else signal.SIGKILL)
        if not number:
            self.events.unregister(connection)

    def _ended(self, kernel, connection, process):
        _, status = os.waitpid(kernel, 0)
        self.kernels.remove(kernel)
        with suppress(OSError):  # the stand-in may have ended first
            os.write(connection, str(os.waitstatus_to_exitcode(status)).encode())
        for number in (connection, process):
            with suppress(KeyError):
                self.events.unregister(number)
            os.close(number)

    def _end(self):
        for kernel in self.kernels:
            os.killpg(kernel, signal.SIGKILL)
            os.waitpid(kernel, 0)
        os._exit(0)


def serve(number):
    """Import, and run a kernel in each process that is forked then."""
    del sys.path[0]  # the folder of this file
    builtins.get_ipython = lambda: SimpleNamespace(kernel=None)  # pandas asks: how wide tables are hangs on it
    for name in IMPORTED:
        importlib.import_module(name)
    del builtins.get_ipython
    gc.collect()
    gc.freeze()  # kernels need neither look through it nor copy it
    arguments, folder, environment, files = Server(socket.socket(fileno=number)).serve()
    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    run([*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])  # a kernel ends when its parent has


def run(arguments):
    """Run a kernel with what is drawn or chosen at the start of each process."""
    import ipykernel.kernelapp
    import matplotlib
    import numpy as np
    import torch

    np.random.seed()
    torch.default_generator.seed()
    matplotlib.rcParams["backend"] = os.environ.setdefault("MPLBACKEND", INLINE)
    for name in TQDM:
        sys.modules.pop(name, None)
    sys.argv = ["ipykernel_launcher.py", *arguments]
    ipykernel.kernelapp.launch_new_instance()
    threading._shutdown()
    atexit._run_exitfuncs()
    os._exit(0)  # rather than take apart, module by module, what is the server's


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(int(sys.argv[1]))
    else:
        sys.exit(stand_in(*sys.argv[1:]))
