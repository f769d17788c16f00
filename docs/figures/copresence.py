"""A taxi by a limousine: does the map of one leak to the other?"""

import denseclip_viz as dcv

model = dcv.load("bundled-vit-cls")
settings = {
    "pairs": [("taxi", "limousine"), ("oak", "pine")],
    "scenes": 2,
    "mosaics": 2,
    "progress": False,
}
together = dcv.measure.copresence(
    model, methods=["value", "sclip", "contribution"], **settings
)
figure = dcv.plot.copresence(together)
