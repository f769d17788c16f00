"""The words of an explorer: messages name arguments and functions of Python, and here are boxes, choices and files."""

import re

from denseclip_viz.errors import DenseclipVizError, DeviceError, ModelNameError, UnsupportedTowerError, WeightsError

ITEMS = {"prompts": "prompt", "absent": "absent prompt", "templates": "template"}
"""Lists of Python, and what one of their items is here."""
OTHERS = {
    r"Pick one \([^)]*\): PIL\.Image\.open it, image\.seek\(0\), pass image\.copy\(\)": "Save one as a file of its own",
    r"go to model\.encode_image; here pass the image itself": "are no image",
    r" \(PIL\.Image\.MAX_IMAGE_PIXELS\)": "",
    r"Leave something out .*; or pass fewer prompts": "Take fewer prompts",
    r"Lower .*, or load the model with dtype='bf16'": "Take fewer prompts or templates, or a smaller image",
    r"Take geometry='whole'": "Choose another “fit”",
    r"Each once; or leave `methods` out for all of them": "Choose another “attribution”",
    r"Pass it as templates=\S.* to have prompts": "Choose “my own …” for templates and write it there, to have prompts",
    r"Look at contributions: model\.compare": "Look at the view of contributions",
    r"Leave key smoothing out": "Untick “key smoothing”",
    r"Trace (with|twice:) path=[^.\n]+": "Choose other “paths”",
    r"Make the longer side [0-9]+ or less": "Choose another “fit”, or shrink the image",
}
"""What else messages advise, and what there is to do here."""
OF_MODELS = (DeviceError, ModelNameError, UnsupportedTowerError, WeightsError)
_ITEM = re.compile(rf"(?<![\w.])({'|'.join(ITEMS)})\[([0-9]+)\]")


def in_controls(error: DenseclipVizError) -> tuple[str, str, str]:
    """Say what came, what was expected and what to do in the words of the controls; models come from a cell.

    Example:
        >>> from denseclip_viz.errors import PromptError
        >>> in_controls(PromptError("prompts[1] is 'a'", expected="each text once", fix="Take it out."))[0]
        "prompt 2 is 'a'"
    """
    fix = f"In a cell: {error.fix}" if isinstance(error, OF_MODELS) else error.fix
    got, expected, fix = map(translated, (error.got, error.expected, fix))
    return got, expected, fix


def translated(text: str) -> str:
    """Say an error or a warning in the words of the controls.

    Example:
        >>> translated("prompts[0] is long. Leave key smoothing out")
        'prompt 1 is long. Untick “key smoothing”'
    """
    for phrase, here in OTHERS.items():
        text = re.sub(phrase, here, text)
    return _ITEM.sub(lambda match: f"{ITEMS[match[1]]} {int(match[2]) + 1}", text)
