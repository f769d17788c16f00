"""Where each head of the pooling looks, whatever is asked."""

import denseclip_viz as dcv

model = dcv.load()
scene = dcv.toyworld.scene("a red taxi left of a limousine on a road", 256)
figure = dcv.plot.heads(model.compare(scene, ["a taxi"]))
