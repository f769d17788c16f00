"""Figures that are kept: each function returns what it drew, and pyplot never hears of it.

`compare`, `grid`, `paths`, `attributions`, `layers`, `heads`, `segments`, `template_ranking`, `ladder`, `faithfulness`,
`copresence`, `interventions`, `disagreement`, `training_curves` and `words` make whole figures of results,
`contact_sheet` and `embedding_map` of a store of features, `bars`, `confusion` and `gallery` of any numbers and labels;
`map` draws one panel on any axes. `save` writes a figure, `save_labels` a segmentation as a label image.
"""

from denseclip_viz.plot.attribution_maps import attributions
from denseclip_viz.plot.bars import Bar, bars
from denseclip_viz.plot.compare import compare
from denseclip_viz.plot.confusion import confusion
from denseclip_viz.plot.contact_sheets import contact_sheet
from denseclip_viz.plot.copresence import copresence
from denseclip_viz.plot.disagreement import disagreement
from denseclip_viz.plot.embedding_maps import embedding_map
from denseclip_viz.plot.faithfulness import faithfulness
from denseclip_viz.plot.gallery import Row, gallery
from denseclip_viz.plot.grid import grid
from denseclip_viz.plot.heads import heads
from denseclip_viz.plot.interventions import interventions
from denseclip_viz.plot.ladders import ladder
from denseclip_viz.plot.layers import layers
from denseclip_viz.plot.map import map
from denseclip_viz.plot.path_maps import paths
from denseclip_viz.plot.save_labels import save_labels
from denseclip_viz.plot.segments import segments
from denseclip_viz.plot.sheet import save
from denseclip_viz.plot.template_ranking import template_ranking
from denseclip_viz.plot.training_curves import training_curves
from denseclip_viz.plot.words import words

__all__ = [
    "Bar",
    "Row",
    "attributions",
    "bars",
    "compare",
    "confusion",
    "contact_sheet",
    "copresence",
    "disagreement",
    "embedding_map",
    "faithfulness",
    "gallery",
    "grid",
    "heads",
    "interventions",
    "ladder",
    "layers",
    "map",
    "paths",
    "save",
    "save_labels",
    "segments",
    "template_ranking",
    "training_curves",
    "words",
]


def __dir__() -> list[str]:
    return sorted(__all__)  # tab completion shows what is public, and no files
