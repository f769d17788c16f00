"""Every pixel named by its best prompt, and none below the absent prompt."""

import denseclip_viz as dcv

model = dcv.load()
scene = dcv.toyworld.scene("an oak left of a house on grass", 256)
labels = model.segment(
    scene, dcv.Prompts(["an oak", "a house", "grass", "the sky"], absent=["a whale"])
)
figure = dcv.plot.segments(labels)
