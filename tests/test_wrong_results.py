"""Whatever takes a result of one kind says so when it is given another thing."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from denseclip_viz import maps, measure, plot
from denseclip_viz.errors import DenseclipVizError

FIGURES = (
    "attributions compare copresence disagreement embedding_map faithfulness grid heads interventions ladder layers "
    "map paths segments template_ranking training_curves words"
)
TABLES = (
    "copresence_table disagreement faithfulness_table ladder_table segmentation_table templates_table "
    "classify_table compare_table layers_table segment_table guided"
)
TAKING = [getattr(plot, name) for name in FIGURES.split()]
TAKING += [getattr(measure if hasattr(measure, name) else maps, name) for name in TABLES.split()]
OTHERS = {
    "nothing": None,
    "a path": "photo.jpg",
    "an image": np.zeros((8, 8, 3), np.uint8),
    "a list": [np.zeros((2, 2)), np.zeros((2, 2))],
    "numbers": xr.DataArray([0.5, 0.5], dims="prompt", coords={"prompt": ["a taxi", "grass"]}),
    "another result": xr.Dataset({"answer": ("question", [42])}),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("taking", TAKING, ids=lambda taking: f"{taking.__module__.split('.')[1]}.{taking.__name__}")
def test_another_thing_is_refused_in_words(taking, other):
    with pytest.raises(DenseclipVizError, match=r"Expected .*\. .*\."):
        taking(other)
