"""Where the wording matters: how far templates differ at each position."""

import denseclip_viz as dcv

model = dcv.load()
scene = dcv.toyworld.scene("a red taxi left of a limousine on a road", 256)
prompts = dcv.Prompts(["a taxi", "a limousine"], ["{}", "a photo of {}", "a drawing of {}"])
figure = dcv.plot.disagreement(model.similarity(scene, prompts))
