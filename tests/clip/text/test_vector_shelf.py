"""Vectors in memory: the same as a dict of copies that forgets the least used, held in few blocks."""

from collections import OrderedDict

import numpy as np
import pytest
import torch

from denseclip_viz.clip.text.bank import VectorShelf


@pytest.mark.parametrize("size", [0, 1, 3, 1024, 1500])
def test_it_is_a_dict_of_copies_that_forgets_the_least_used(size):
    shelf, plain, rng = VectorShelf(size), OrderedDict(), np.random.default_rng(size)
    for _ in range(3):
        for key in rng.integers(0, 2 * size + 2, 2000).tolist():
            if rng.random() < 0.5:
                vector = torch.randn(3)
                shelf.put(key, vector)
                plain[key] = vector.clone()
                plain.move_to_end(key)
                while len(plain) > size:
                    plain.popitem(last=False)
                vector.zero_()
            found = shelf.get(key)
            assert (found is None) == (key not in plain)
            if found is not None:
                plain.move_to_end(key)
                assert torch.equal(found, plain[key])
        assert len(shelf) == len(plain) <= size
        shelf.clear()
        plain.clear()
        assert shelf.get(1) is None and len(shelf) == 0


def test_many_vectors_lie_in_few_blocks():
    shelf = VectorShelf(4096)
    for key in range(5000):
        shelf.put(key, torch.ones(8))
    assert len({shelf.get(key).untyped_storage().data_ptr() for key in range(904, 5000)}) == 4
