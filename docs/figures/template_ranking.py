"""Which template sees best, with intervals: those that may be the best one are blue."""

import denseclip_viz as dcv

model, scenes = dcv.load(), dcv.toyworld.dataset(8, "test", size=96)
templates = ["{}", "a photo of {}", "a drawing of {}", "there is {} in the scene"]
prompts = dcv.Prompts(
    ["a road", "grass", "the sky", "the sea"], templates, absent=["a whale"]
)
figure = dcv.plot.template_ranking(
    dcv.measure.rank_templates(model, scenes, prompts, progress=False)
)
