"""What is named and how it is said: prompts, templates, synonyms, and the lists of the literature."""

from denseclip_viz.prompts.class_names import CLASS_LISTS, class_list
from denseclip_viz.prompts.prompts import Named as Named
from denseclip_viz.prompts.prompts import Prompts
from denseclip_viz.prompts.templates import TEMPLATE_SETS, template_set

__all__ = ["CLASS_LISTS", "Prompts", "TEMPLATE_SETS", "class_list", "template_set"]


def __dir__() -> list[str]:
    return sorted(__all__)  # tab completion shows what is public, and no files
