"""Shared by all tests: one thread (this is a test of truth, not of speed), and no display."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
