"""Templates down, prompts across, one scale for all: any two axes can be laid out."""

import denseclip_viz as dcv

model = dcv.load()
trace = model.trace(dcv.toyworld.scene("a red taxi left of a limousine on a road", 256))
prompts = dcv.Prompts(["a taxi", "a limousine", "a road"], ["{}", "a photo of {}"])
figure = dcv.plot.grid(model.similarity(trace, prompts), image=trace.image)
