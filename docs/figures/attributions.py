"""What made the score, by published attributions: raw, each with a scale of its own."""

import denseclip_viz as dcv

model = dcv.load()
trace = model.trace(dcv.toyworld.scene("a red taxi left of a limousine on a road", 256))
why = dcv.attribution.attribute(
    model, trace, ["a taxi", "a road"], ["grad-cam", "grad-eclip", "relevance"]
)
figure = dcv.plot.attributions(why, image=trace.image)
