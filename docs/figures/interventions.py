"""Each head silenced in turn: what happened to the score, and what the sum predicted."""

import denseclip_viz as dcv

model = dcv.load()
scene = dcv.toyworld.scene("a red taxi left of a limousine on a road", 256)
silent = dcv.attribution.intervene(model, scene, ["a taxi"], "pool.attention", head="each")
figure = dcv.plot.interventions(silent)
