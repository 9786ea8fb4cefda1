"""Where a run ends: no slice goes beyond the earlier of the host's clock and the API's, less `settle`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from app.base.clocks import DATE_RESOLUTION, Clocks
from app.base.instants import MILLISECOND, floor_to
from app.base.text import counted
from app.microshare.client import MicroshareClient
from app.run.draft import Draft


def agreed_clocks(
    client: MicroshareClient,
    cluster_ids: Sequence[str],
    now: Callable[[], datetime],
    last_run: datetime | None,
) -> Clocks:
    """Read both clocks, asking for the API's where no answer has told it.

    Raises ClocksDiffer where they are too far apart to tell what time it is, SourceError as a login does.
    """
    client.learn_time(cluster_ids)
    clocks = Clocks(now(), client.api_time())
    clocks.require_agreement(last_run)
    return clocks


class Horizon:
    """The horizon of one run, `at`; the host's time until it is found. It only ever comes nearer."""

    def __init__(
        self,
        client: MicroshareClient,
        now: Callable[[], datetime],
        settle: timedelta,
        until: datetime | None,
        draft: Draft,
    ) -> None:
        self._client = client
        self._now = now
        self._settle = settle
        self._until = until
        self._draft = draft
        self.at = now()

    def find(self, cluster_ids: Sequence[str], last_run: datetime | None) -> None:
        """Find it, before anything is done by it. Raises ClocksDiffer; see `agreed_clocks`."""
        clocks = agreed_clocks(self._client, cluster_ids, self._now, last_run)
        horizon = clocks.horizon(self._settle)
        self.at = horizon if self._until is None else min(horizon, self._until)
        self._warn_of_skew(clocks)

    def follow(self) -> None:
        """Follow an API clock that turns out to be behind the one the horizon was taken from."""
        api = self._client.api_time()
        if api is not None and api - self._settle < self.at - DATE_RESOLUTION:
            self.at = floor_to(api - self._settle, MILLISECOND)
            self._warn_of_skew(Clocks(self._now(), api))

    def fails_for_clocks(self) -> bool:
        """Fail the run where two answers in a row told a time that was left out; give whether it was so."""
        doubtful = [found.clocks for found in self._client.left_out_times() if found.in_a_row == 2]
        for clocks in doubtful:
            self._draft.fail(None, None, f"during the run, {clocks.why_apart()}")
        return bool(doubtful)

    def tell_of_left_out_times(self) -> None:
        left_out = self._client.left_out_times()
        if left_out:
            self._draft.warn(
                f"{left_out[0].clocks.said()}, in {counted(len(left_out), 'answer')} of this run; if "
                "it comes again, see what answers in the API's place (a proxy, a cache); its time was left "
                "out, what it holds was not"
            )

    def _warn_of_skew(self, clocks: Clocks) -> None:
        warning = clocks.warning()
        if warning is not None:
            self._draft.warn(warning)
