"""All cases, in the order of their ids. A new one is one entry in the module of its group."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults import (
    cases_hubs,
    cases_process,
    cases_security,
    cases_settings,
    cases_source,
    cases_state,
)
from tests.faults.case import Case

_GROUPS = (cases_source, cases_hubs, cases_state, cases_process, cases_settings, cases_security)


def _order(case: Case) -> tuple[str, int]:
    return case.id[0], int(case.id[1:])


def _short_form(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Give the first case of each id that is not slow."""
    first: dict[str, Case] = {}
    for case in cases:
        if not case.slow:
            first.setdefault(case.id, case)
    return tuple(first.values())


CASES: tuple[Case, ...] = tuple(sorted((case for group in _GROUPS for case in group.CASES), key=_order))
# What `make test` runs; `make faults` runs all.
SHORT = _short_form(CASES)
