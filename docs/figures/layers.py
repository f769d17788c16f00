"""From the first layer to the pooling: where the global reading and the dense one part."""

import denseclip_viz as dcv

model = dcv.load()
scene = dcv.toyworld.scene("a red taxi left of a limousine on a road", 256)
figure = dcv.plot.layers(model.compare(scene, ["a taxi"], layers="all"))
