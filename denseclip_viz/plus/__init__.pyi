from .schedules import SCHEDULES as SCHEDULES
from .schedules import Schedule as Schedule
