"""What explorers say when something is wrong: boxes, choices and files that are there, never arguments of Python."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.canvas.payload import pack_result
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.errors import DenseclipVizError
from denseclip_viz.explorers.control_words import OTHERS, in_controls
from denseclip_viz.explorers.query import GEOMETRIES
from denseclip_viz.explorers.status import one_line

PYTHON = (
    r"\w=[\w\"'(\[{-]",  # an argument
    r"\w\(",  # a call
    r"\w\[[0-9]",  # an index
    r"\b(None|True|False|tuple|dcv|dict|image\.\w+|model\.\w+|result\.\w+|maps\.\w+|np\.\w+|[Pp]ass)\b",
)


def file_of(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def frames():
    first, second = (Image.new("RGB", (9, 9), colour) for colour in ("red", "blue"))
    return file_of(first, "GIF", save_all=True, append_images=[second])


def flat(values):
    return file_of(Image.fromarray(np.full((9, 9), values)), "TIFF")


TYPED = {  # control: what is typed, and what is said of it
    "nothing": ({"prompts": " \n"}, "No prompt is typed"),
    "twice": ({"prompts": "a taxi\na  taxi"}, "prompt 2 is 'a taxi', which prompt 1 is already"),
    "absent twice": ({"absent": "a bus\na bus"}, "absent prompt 2 is 'a bus', which absent prompt 1 is already"),
    "both": ({"absent": "a road"}, "absent prompt 1 is 'a road', which prompt 2 is already"),
    "null": ({"prompts": "a\0taxi"}, "holds a null character"),
    "half": ({"prompts": "a \ud83d taxi"}, "holds half of a surrogate pair"),
    "no templates": ({"templates": "own", "own": "\n"}, "No templates of your own are typed"),
    "no braces": ({"templates": "own", "own": "{}\na photo"}, "The template 'a photo' has no place"),
    "template twice": ({"templates": "own", "own": "{}\n{}"}, "template 2"),
    "too long": ({"prompts": "a " + "very " * 90 + "long taxi"}, "tokens"),
    "alike": ({"prompts": "a taxi\nA TAXI"}, "reads the prompts 'a taxi' and 'A TAXI' alike"),
}
FILES = {
    "text": (b"no image", "is not an image"),
    "empty": (b"\0", "is not an image"),
    "broken": (file_of(Image.new("RGB", (64, 64), "red"))[:120], "broken"),
    "frames": (frames(), "2 frames"),
    "integers": (flat(np.int32(-5)), "signed numbers"),
    "floats": (flat(np.float32(-1)), "from -1"),
    "long": (file_of(Image.new("RGB", (60000, 1))), ""),
}


@pytest.fixture
def opened(load_tiny, image_file):
    panel = dcv.explore(load_tiny("resnet"), image_file, ["a taxi", "a road"])
    yield panel
    panel.close()


def says(panel):
    """What the panel says of a mistake, when it names nothing but what it has."""
    text = panel.status.text
    assert panel.status.kind == "error" and text
    assert [found[0] for python in PYTHON if (found := re.search(python, text))] == [], text
    parts = [
        getattr(panel.controls, name)
        for name in ("prompts", "absent", "templates", "geometry", "paths", "smooth", "denoise")
    ]
    assert set(re.findall("“([a-z ]+)”", text)) <= {part.description for part in parts}, text
    return text


@pytest.mark.parametrize("case", TYPED)
def test_what_is_typed_wrongly_is_named_by_its_place(opened, case):
    typed, said = TYPED[case]
    for name, value in typed.items():
        getattr(opened.controls, name).value = value
    opened.controls.run.click()
    assert said in says(opened)


def test_a_prompt_that_is_too_long_is_told_with_the_place_where_it_would_be_cut():
    panel = dcv.explore(dcv.load(), dcv.toyworld.scene("a taxi", 64), ["a taxi"])
    panel.controls.prompts.value = "a long red taxi left of a " + "very " * 60 + "small road"
    panel.controls.run.click()
    assert re.search(r"it would be cut after … '.*', before 'very very .*\. Shorten it\.$", says(panel))
    panel.close()


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("fit", [fit for _, fit in GEOMETRIES])
def test_what_is_wrong_with_a_file_is_told_as_of_a_file(opened, case, fit):
    content, said = FILES[case]
    opened.controls.geometry.value = fit
    with opened.controls.image.hold_trait_notifications():
        opened.controls.image.name, opened.controls.image.content = "mine.png", content
    if opened.status.kind != "ok":
        assert said in says(opened)


def test_a_template_among_the_prompts_is_told_of_its_control(opened):
    opened.controls.prompts.value = "a taxi\na photo of {}"
    opened.controls.run.click()
    text = opened.status.text
    assert opened.status.kind == "warning" and "Choose “my own …” for templates and write it there" in text
    assert [found[0] for python in PYTHON if (found := re.search(python, text))] == [], text


def test_smoothing_where_there_are_no_keys_says_which_box_to_untick(load_tiny, image_file):
    panel = dcv.explore(load_tiny("mean"), image_file, ["a taxi", "a road"])
    panel.controls.smooth.value = True
    assert says(panel).endswith("Untick “key smoothing”.")
    panel.close()


def test_paths_that_one_pass_cannot_give_are_chosen_otherwise(load_tiny, image_file):
    panel = dcv.explore(load_tiny("vit"), image_file, ["a taxi", "a road"], paths=["value", "value-maskclip"])
    panel.controls.geometry.value = "whole"
    assert panel.status.kind == "error" and panel.status.text.endswith("Choose other “paths”.")
    panel.close()


def test_a_model_that_cannot_be_opened_is_put_right_in_a_cell(load_tiny, image_file):
    panel = dcv.explore({"mine": load_tiny("resnet"), "other": "RN51"}, image_file, ["a taxi", "a road"])
    panel.controls.model.value = "other"
    assert "RN51" in panel.status.text and " In a cell: " in panel.status.text
    panel.close()


def test_what_is_too_large_is_made_smaller_by_controls(opened):
    with pytest.raises(DenseclipVizError) as caught:
        pack_result(opened.result, limit=0.001)
    assert one_line(caught.value).endswith(". Take fewer prompts or templates.")
    for knob in ("batch_size (now 64)", "the size of the answer, leave soft and independent masks out"):
        with pytest.raises(DenseclipVizError) as caught, memory_guard(knob):
            raise MemoryError
        assert in_controls(caught.value)[2] == "Take fewer prompts or templates, or a smaller image."


def test_every_phrase_that_is_translated_is_said_somewhere():
    package = Path(dcv.__file__).parent
    texts = "\n".join(path.read_text() for path in package.rglob("*.py") if path.name != "control_words.py")
    texts = re.sub(r"\{[^}\n]*\}", "7", texts)
    said = [re.sub(r"; or pass .*| \\\(PIL", "", phrase) for phrase in OTHERS]  # one is put together of parts
    assert [phrase for phrase in said if not re.search(phrase, texts)] == []
