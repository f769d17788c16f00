"""One map on any axes of matplotlib, to be put into a figure of your own."""

import denseclip_viz as dcv

model = dcv.load()
trace = model.trace(dcv.toyworld.scene("an oak left of a house on grass", 256))
oak = model.similarity(trace, ["an oak"]).isel(template=0, prompt=0)
figure = dcv.plot.map(oak, image=trace.image).figure
