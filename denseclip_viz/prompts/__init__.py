"""What is named and how it is said: prompts, templates, synonyms, and the lists of the literature."""

from denseclip_viz.prompts.class_names import CLASS_LISTS, class_list
from denseclip_viz.prompts.prompts import Named, Prompts
from denseclip_viz.prompts.templates import TEMPLATE_SETS, template_set
from denseclip_viz.validation import check_text

__all__ = ["CLASS_LISTS", "TEMPLATE_SETS", "Named", "Prompts", "check_text", "class_list", "template_set"]
