"""Work in threads, ahead of whoever takes the results."""

import threading
import time

import pytest

from denseclip_viz.clip.prefetch import ahead, threads


def slow(item):
    time.sleep(0.002 * (item % 3))
    if item < 0:
        raise ValueError(item)
    return item


@pytest.mark.parametrize("count", [0, 1, 4])
def test_results_come_in_order_whoever_is_first(count):
    with threads(count) as pool:
        assert list(ahead(slow, range(20), pool, most=5)) == list(range(20))


@pytest.mark.parametrize(("count", "most"), [(0, 3), (1, 1), (4, 3)])
def test_no_more_items_are_taken_than_said(count, most):
    taken = []

    def items():
        for item in range(20):
            taken.append(item)
            yield item

    with threads(count) as pool:
        for number, _ in enumerate(ahead(slow, items(), pool, most)):
            assert len(taken) <= number + 1 + (most if pool else 0)


@pytest.mark.parametrize("count", [0, 2])
def test_an_error_of_an_item_or_of_its_work_comes_in_its_turn(count):
    def items():
        yield from (1, 2)
        raise ZeroDivisionError

    with threads(count) as pool:
        results = ahead(slow, items(), pool, most=8)
        assert [next(results), next(results)] == [1, 2]
        pytest.raises(ZeroDivisionError, next, results)
        results = ahead(slow, [1, -1, 2], pool, most=8)
        assert next(results) == 1
        pytest.raises(ValueError, next, results)


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ValueError, None])
def test_threads_end_with_the_work_however_it_ends(ending):
    before, begun = threading.active_count(), []

    def work(item):
        begun.append(item)
        time.sleep(0.01)

    try:
        with threads(2) as pool:
            next(ahead(work, range(50), pool, most=40))
            if ending:
                raise ending
    except (KeyboardInterrupt, ValueError):
        pass
    assert threading.active_count() == before
    assert len(begun) < 41
