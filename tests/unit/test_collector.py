"""What is done without Python's garbage collector, and what is old for it afterwards."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from app.base.collector import uncollected


class Holder:
    """Something that holds something, itself perhaps."""

    held: object


def is_old(wanted: object) -> bool:
    return any(found is wanted for found in gc.get_objects(generation=2))


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> Iterator[None]:
    was_frozen = gc.get_freeze_count() > 0
    gc.unfreeze()
    yield
    gc.enable()
    if was_frozen:
        gc.freeze()


@pytest.mark.parametrize("much", [True, False])
def test_much_is_old_as_soon_as_it_is_loaded(much: bool) -> None:
    with uncollected(much=much):
        loaded = Holder()
        assert not gc.isenabled()

    assert (gc.isenabled(), is_old(loaded)) == (True, much)


def test_garbage_does_not_become_old_with_what_is_loaded() -> None:
    garbage = Holder()
    garbage.held = garbage
    found = weakref.ref(garbage)
    del garbage

    with uncollected(much=True):
        pass

    assert found() is None


def test_where_it_was_off_it_stays_off_and_finds_nothing() -> None:
    gc.disable()

    with uncollected(much=True):
        loaded = Holder()

    assert (gc.isenabled(), is_old(loaded)) == (False, False)


def test_what_was_frozen_stays_frozen() -> None:
    gc.freeze()

    with uncollected(much=True):
        pass

    assert gc.get_freeze_count() > 0
