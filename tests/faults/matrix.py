"""All cases, in the order of their ids. A new one is one entry in the module of its group."""

from __future__ import annotations

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


CASES: tuple[Case, ...] = tuple(sorted((case for group in _GROUPS for case in group.CASES), key=_order))
