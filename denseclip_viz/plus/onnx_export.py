"""A student as an ONNX file, which runs without torch; checked against the student before it is anybody's."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from denseclip_viz.clip.surroundings import check_eval, guarded
from denseclip_viz.errors import OutputError, silenced
from denseclip_viz.files import check_target, save_bytes

if TYPE_CHECKING:
    from denseclip_viz.plus.student import Student

MISS = 1e-4  # of the largest feature: what two engines may differ by
ENDINGS, _MULTIPLE = (".onnx",), 32
_CHECKED = ((1, 64, 64), (2, 96, 160))  # inputs that the file is run on: one, and more of another shape


class _Answers(nn.Module):
    """Features, and cosines with the student's own classes."""

    vectors: Tensor

    def __init__(self, network: nn.Module, vectors: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("vectors", vectors)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network(pixels)
        unit = nn.functional.normalize(features, dim=1)
        return features, torch.einsum("bdyx,cd->bcyx", unit, self.vectors)


@guarded
def export_onnx(student: Student, file: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a student as an ONNX file, and compare the file's answers with the student's own.

    The file takes `pixels` (image, 3, H, W), normalised as the teacher's are, any number of any size whose sides are
    multiples of 32; it gives `features` (image, D, h, w) and `cosines` (image, class, h, w). Its metadata hold the
    classes and the teacher's provenance.

    Args:
        student: A student.
        file: Where to write it, ending in ".onnx".
        force: Replace a file that is there.

    Returns:
        The file.

    Raises:
        OutputError: Another ending, a file that is there, or answers that differ by more than 1e-4.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.plus.export_onnx(None, "student.pt")
        Traceback (most recent call last):
        denseclip_viz.errors.OutputError: student.pt ends in '.pt'. Expected one of .onnx. ...
    """
    check_target(file, ENDINGS, force=force)
    onnx = _library()
    check_eval(student.built.network, fix="Call student.built.network.eval().")
    answers = _Answers(student.built.network, student.vectors).eval()
    images, rows, columns = (torch.export.Dim(name, min=1, max=most) for name, most in _AXES)
    shapes = {"pixels": {0: images, 2: _MULTIPLE * rows, 3: _MULTIPLE * columns}}
    with _silent():
        program = torch.onnx.export(
            answers,
            (torch.zeros(2, 3, 64, 96),),
            dynamo=True,
            verbose=False,
            input_names=["pixels"],
            output_names=["features", "cosines"],
            dynamic_shapes=shapes,
        )
    assert program is not None
    proto = program.model_proto
    facts = {"classes": list(student.prompts.prompts), "teacher": dict(student.teacher)}
    onnx.helper.set_model_props(proto, {name: json.dumps(value) for name, value in facts.items()})
    onnx.checker.check_model(proto)
    content = proto.SerializeToString()
    if (miss := difference(content, answers)) > MISS:
        got, fix = f"an ONNX file whose answers differ by {miss:.1e} of the largest", "Report the network's name."
        raise OutputError(got, expected=f"at most {MISS:.0e}", fix=fix)
    return save_bytes(content, file, ENDINGS, force=force)


_AXES = (("images", 1024), ("rows", 512), ("columns", 512))


def _library() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        got, fix = f"Export without {error.name}", 'Run pip install "denseclip_viz[onnx]".'
        raise OutputError(got, expected="onnx, onnxscript and onnxruntime", fix=fix) from error
    return onnx


def difference(content: bytes, answers: nn.Module) -> float:
    """Say how far an ONNX file's answers on random inputs are from a network's, of its largest; NaN is far."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    chance, worst = torch.Generator().manual_seed(0), 0.0
    for count, height, width in _CHECKED:
        pixels = torch.randn(count, 3, height, width, generator=chance)
        theirs = session.run(None, {"pixels": pixels.numpy()})
        with torch.no_grad():
            mine = [answer.numpy() for answer in answers(pixels)]
        for one, other in zip(mine, theirs, strict=True):
            same = one.shape == other.shape
            far = float(np.abs(one - other).max() / np.abs(one).max().clip(1e-30)) if same else np.inf
            worst = max(worst, far if np.isfinite(far) else np.inf)
    return worst


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what the exporter writes about its own versions off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with silenced():
            yield
    finally:
        logging.disable(before)
