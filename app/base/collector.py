"""Python's garbage collector, kept from its work where that would be in vain."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected(*, much: bool = False) -> Iterator[None]:
    """Leave garbage for later: what is loaded is kept, and to look through it as it grows takes long.

    `much` is not looked through as soon as it is loaded either, but counts as old at once. What was garbage
    before would be old with it, and is removed first.
    """
    was_on = gc.isenabled()
    much = much and was_on and not gc.get_freeze_count()
    if much:
        gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if much:
            # All that is moved out of the sight of the collector comes back as the oldest.
            gc.freeze()
            gc.unfreeze()
        if was_on:
            gc.enable()
