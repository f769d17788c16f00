"""From the value path up, a switch a rung: what each gains, and how far it turns maps."""

import denseclip_viz as dcv

model, scenes = dcv.load("bundled-vit-cls"), dcv.toyworld.dataset(4, "test", size=64)
rungs = ["value", "value-attention-only", "clearclip", "sclip", "vanilla"]
climbed = dcv.measure.ladder(model, scenes, paths=rungs, time=0, progress=False)
figure = dcv.plot.ladder(climbed)
