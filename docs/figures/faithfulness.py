"""Does a map follow the score? Tests that it can fail, beside placebos."""

import denseclip_viz as dcv

model = dcv.load("bundled-vit-cls")
scenes = dcv.toyworld.dataset(2, "test", size=64)
methods = ["value", "sclip", "contribution", "random"]
figure = dcv.plot.faithfulness(
    dcv.measure.faithfulness(model, scenes, methods, steps=2, progress=False)
)
