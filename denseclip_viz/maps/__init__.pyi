from .refine import key_smoothing as key_smoothing
from .refine import prompt_denoising as prompt_denoising
from .segment import Background as Background
from .similarity import cosine_maps as cosine_maps
from .tables import classify_table as classify_table
from .tables import compare_table as compare_table
from .tables import layers_table as layers_table
from .tables import segment_table as segment_table
