"""Where each prompt lives, what it added to CLIP's answer, and where the pooling looked."""

import denseclip_viz as dcv

model = dcv.load()
scene = dcv.toyworld.scene("a red taxi left of a limousine on a road", 256)
both = model.compare(
    scene, dcv.Prompts(["a taxi", "a limousine", "a road"], absent=["a whale"])
)
figure = dcv.plot.compare(both)
