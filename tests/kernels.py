"""What kernels of tests are started with: the package under test, one thread, nothing of the user's."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

import denseclip_viz


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
