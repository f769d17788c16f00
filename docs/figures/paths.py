"""Several ways to read a position, out of one forward pass, on one scale."""

import denseclip_viz as dcv

model = dcv.load("bundled-vit-cls")
scene = dcv.toyworld.scene("an oak left of a house on grass", 256)
trace = model.trace(scene, path=["vanilla", "value", "sclip", "clearclip"])
figure = dcv.plot.paths(model.compare(trace, ["a house"]))
