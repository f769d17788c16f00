"""Images beside their labels, a row each, with one legend."""

import denseclip_viz as dcv

model, scenes = dcv.load(), dcv.toyworld.dataset(2, "test", size=160)
rows = []
for scene in scenes:
    given = model.segment(
        scene, dcv.Prompts(scenes.classes, "a photo of {}")
    ).labels.to_numpy()
    rows.append(dcv.plot.Row(scene.image, scene.caption(), "", (scene.labels(), given)))
texts = {
    "title": "what is there, and what is named",
    "subtitle": "value path",
    "attrs": model.provenance,
}
figure = dcv.plot.gallery(rows, ["image", "truth", "model"], scenes.classes, **texts)
