"""Which class is taken for which, from any counts."""

import denseclip_viz as dcv
import numpy as np

trees = (["oak", "pine", "palm"], np.array([[14, 5, 1], [3, 17, 0], [0, 1, 19]]))
boats = (["sailing boat", "steamboat"], np.array([[18, 2], [4, 16]]))
flowers = (["tulip", "sunflower"], np.array([[20, 0], [1, 19]]))
texts = {
    "title": "siblings",
    "subtitle": "images",
    "unit": "share of a row",
    "note": "counts made up for this figure",
}
figure = dcv.plot.confusion(
    {"trees": trees, "boats": boats, "flowers": flowers}, **texts, attrs={}
)
