"""Every number that people hold says what it is and in which unit, so that plots of xarray label themselves."""

import pytest
import xarray as xr

import denseclip_viz as dcv

TEXTS = dcv.Prompts(["a taxi", "sky"], ["a photo of {}.", "{}"], absent="a whale")
SCENE = dcv.toyworld.scene("a taxi on a road", 64)
SCENES = dcv.toyworld.dataset(2, "test", size=64)
QUIET = {"progress": False}
RESULTS = {
    "comparison": lambda model, trace: model.compare(trace, TEXTS),
    "layers": lambda model, trace: model.compare(model.trace(SCENE, layers=["layer4"]), TEXTS),
    "similarity": lambda model, trace: model.similarity(trace, TEXTS),
    "classification": lambda model, trace: model.classify(trace, TEXTS),
    "segmentation": lambda model, trace: model.segment(trace, TEXTS, independent=True, soft=True),
    "attributions": lambda model, trace: dcv.attribution.attribute(model, trace, TEXTS, methods=["grad-cam"]),
    "direct effects": lambda model, trace: dcv.attribution.direct_effects(model, trace, TEXTS),
    "words": lambda model, trace: dcv.measure.word_attribution(model, trace, "a red taxi"),
    "evaluation": lambda model, trace: dcv.measure.evaluate(model, SCENES, paths(model), "peak", **QUIET),
    "segmentation of a data set": lambda model, trace: dcv.measure.evaluate_segmentation(model, SCENES, **QUIET),
    "ladder": lambda model, trace: dcv.measure.ladder(model, SCENES, time=1, **QUIET),
    "faithfulness": lambda model, trace: dcv.measure.faithfulness(model, SCENES, ["value"], steps=2, **QUIET),
    "ranking": lambda model, trace: dcv.measure.rank_templates(model, SCENES, TEXTS, **QUIET).scores,
    "two in an image": lambda model, trace: dcv.measure.copresence(
        model, methods=["value"], pairs=[("taxi", "bus")], scenes=2, mosaics=2, **QUIET
    ),
}
COUNTED = ("head", "named")  # axes that count, and label themselves by their name
MARKED = ("labels", "image")  # pixels: numbers of labels, and colours


def paths(model):
    return dcv.measure.path_candidates(model, TEXTS, ["value"])


@pytest.fixture(scope="module")
def model():
    return dcv.load()


@pytest.mark.filterwarnings("ignore:Within noise")
@pytest.mark.parametrize("name", RESULTS)
def test_each_number_says_what_it_is_and_in_which_unit(model, name):
    result = RESULTS[name](model, model.trace(SCENE))
    whole = result if isinstance(result, xr.Dataset) else result.to_dataset(name=result.name)
    numbers = {each: values for each, values in whole.variables.items() if values.dtype.kind in "fiu"}
    silent = [each for each, values in numbers.items() if not {"long_name", "units"} <= values.attrs.keys()]
    assert not set(silent) - {*COUNTED, *MARKED} and len(numbers) > len(silent)


def test_a_map_labels_its_own_plot(model):
    mesh = model.similarity(SCENE, "a taxi").isel(template=0, prompt=0).plot()
    texts = (mesh.axes.get_xlabel(), mesh.axes.get_ylabel(), mesh.colorbar.ax.get_ylabel())
    assert texts == ("from its left [px]", "from the top of the image [px]", "dense features against text\n[cosine]")
