from .learning import train as train
from .onnx_export import export_onnx as export_onnx
from .schedules import SCHEDULES as SCHEDULES
from .schedules import Schedule as Schedule
from .student import Student as Student
from .student import load as load
from .student_scores import evaluate as evaluate
