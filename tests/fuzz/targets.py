"""All that is fuzzed, in the order of docs/faults.md."""

from __future__ import annotations

from tests.fuzz import (
    targets_base,
    targets_hubs,
    targets_queue,
    targets_settings,
    targets_source,
    targets_state,
    targets_wire,
)
from tests.fuzz.target import Target

TARGETS = (
    *targets_wire.TARGETS,
    *targets_source.TARGETS,
    *targets_hubs.TARGETS,
    *targets_state.TARGETS,
    *targets_queue.TARGETS,
    *targets_settings.TARGETS,
    *targets_base.TARGETS,
)


def target(name: str) -> Target:
    return next(each for each in TARGETS if each.name == name)
