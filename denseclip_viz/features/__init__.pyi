from .encoding_images import encode as encode
from .feature_store import FeatureStore as FeatureStore
from .feature_store import open_store as open_store
from .image_search import search as search
from .projection import project as project
from .removing_images import remove as remove
