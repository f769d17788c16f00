"""Which word of a prompt carries its map: each is left out in turn."""

import denseclip_viz as dcv

model = dcv.load()
scene = dcv.toyworld.scene("a red taxi left of a limousine on a road", 256)
figure = dcv.plot.words(dcv.measure.word_attribution(model, scene, "a red taxi on a road"))
