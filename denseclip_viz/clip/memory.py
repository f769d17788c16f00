"""Running out of memory, said in words that help."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from denseclip_viz.errors import OutOfMemoryError


@contextmanager
def memory_guard(knob: str) -> Iterator[None]:
    """Turn what torch and Python raise when memory ends into an error that names the knob.

    Args:
        knob: What to turn down.

    Raises:
        OutOfMemoryError: The block ran out of memory, on the GPU or on the host.

    Example:
        >>> with memory_guard("batch_size"):
        ...     raise MemoryError
        Traceback (most recent call last):
        denseclip_viz.errors.OutOfMemoryError: Memory ran out. Expected room for one step. Lower batch_size...
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        on_gpu = isinstance(error, torch.cuda.OutOfMemoryError)
        # On the host torch has no type of its own for it; its allocator signs the message.
        if not (on_gpu or isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)):
            raise
        got = "The GPU ran out of memory" if on_gpu else "Memory ran out"
        fix = f"Lower {knob}, or load the model with dtype='bf16'."
        raise OutOfMemoryError(got, expected="room for one step", fix=fix) from error
