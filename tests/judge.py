"""What is asked of every answer to hostile input: an error of ours that says what to do, or a right result."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, settings
from state import fingerprint

from denseclip_viz.errors import DenseclipVizError
from denseclip_viz.trace import Trace

SAID = (
    "transparent in places",
    "removed every prompt",
    "font",
    "is the only prompt",
    "in single letters or bytes",
    "looks like a template",
)  # what our own warnings say
fuzz = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def unchanged(load_tiny):
    """One model of each family for a whole file: it must come out as it went in."""
    made = {kind: load_tiny(kind) for kind in ("resnet", "vit")}
    before = {kind: fingerprint(model.clip) for kind, model in made.items()}
    yield made
    for kind, model in made.items():
        assert fingerprint(model.clip) == before[kind]


@contextmanager
def strict():
    """Every warning is an error, but for those that say what was done to the input."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="PIL")  # its remarks on what it could read all the same
        for words in SAID:
            warnings.filterwarnings("ignore", message=f".*{words}")
        yield


def held(call, due=None):
    """Make the call: the error that is due, or a right result where None is."""
    with strict():
        if due is None:
            right(call())
            return
        with pytest.raises(due) as caught:
            call()
    message = str(caught.value)
    assert "Expected" in message and message[-1] in ".?" and len(message) < 1500, message


def fuzzed(call):
    """Make the call: any error of ours, or a right result."""
    with strict():
        try:
            result = call()
        except DenseclipVizError as error:
            assert "Expected" in str(error)
        else:
            right(result)


def table(cases):
    """Run a test for each case of a table."""
    return pytest.mark.parametrize(("value", "due"), cases.values(), ids=cases)


def right(result):
    """Finite, of fitting shapes, and contributions and rest make the whole."""
    if isinstance(result, Trace):
        right_trace(result)
    elif isinstance(result, xr.Dataset):
        right_dataset(result)
    elif isinstance(result, xr.DataArray):
        assert np.isfinite(result).all()
        if result.name == "probability":
            np.testing.assert_allclose(result.sum("prompt"), 1, rtol=1e-5)
        else:
            assert abs(result).max() <= 1


def right_trace(trace):
    assert all(bool(tensor.isfinite().all()) for tensor in trace.tensors().values())
    whole = trace.contributions.sum((0, 1)) + sum(trace.rest.values())
    assert (whole - trace.global_embedding).abs().max() <= 2e-5 * trace.global_embedding.abs().max()
    assert trace.dense.shape[-3:-1] == trace.attention.shape[1:] == trace.geometry.grid


def right_dataset(result):
    for name, values in result.data_vars.items():
        if name == "spearman":  # NaN for a map that is constant
            assert (abs(values.fillna(0)) <= 1).all()
        elif not str(name).startswith("probabilit"):
            assert np.isfinite(values).all(), name
    if "rest" in result:
        total = result.contribution.sum(("y", "x")) + result.rest.sum("term")
        np.testing.assert_allclose(total, result.score, atol=1e-5)
        moved = result.gap.sum(("y", "x")) + result.gap_rest.sum("term")
        np.testing.assert_allclose(moved, result.even_score - result.score, atol=1e-5)
    if "labels" in result:
        unseen = result.probability.isnull()
        assert -1 <= result.labels.min() and result.labels.max() < result.sizes["label"]
        assert result.labels.shape == result.probability.shape and (result.labels.values[unseen] == -1).all()
        assert ((result.probability > 0) | unseen).all() and (result.probability.fillna(0) <= 1.000001).all()
    if "probabilities" in result:
        np.testing.assert_allclose(result.probabilities.sum("label").where(~unseen, 1), 1, rtol=1e-5)
