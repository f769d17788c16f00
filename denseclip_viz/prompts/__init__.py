"""What is named and how it is said: prompts, templates, wordings, and the lists of the literature."""

from denseclip_viz.prompts.classes import CLASS_LISTS, class_list
from denseclip_viz.prompts.prompts import Named, Prompts
from denseclip_viz.prompts.strings import check_text
from denseclip_viz.prompts.templates import TEMPLATE_SETS, template_set

__all__ = ["CLASS_LISTS", "TEMPLATE_SETS", "Named", "Prompts", "check_text", "class_list", "template_set"]
