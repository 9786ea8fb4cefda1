"""What is remembered of a login that the API refuses, so that an account is not locked by trying it again.

Kept in the store of the states under a name of its own, which both feeds share: how often in a row, when
last, and a hash of what was refused, so that a changed password is tried at once. Never the password.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.base.checkpoints import FeedState
from app.base.errors import AuthError, StateError
from app.base.instants import HOUR, MINUTE, format_time, parse_time, utc_now
from app.base.program import PROGRAM
from app.base.text import moment, printable, times_in
from app.microshare.auth import login_of, names_of
from app.settings.schema import MicroshareSettings
from app.state.records import of_kind
from app.state.store import StateStore

STATE_NAME = "refusedlogin"
# A refusal can be the API's own mistake, once or twice. After so many in a row it is tried hourly: some 24
# times a day instead of 120.
_TIMES = 3
# Runs begin some seconds earlier or later than an hour after the one before.
_APART = HOUR - 5 * MINUTE
_FIELD = "refused_login"
# scrypt (RFC 7914): some 50 ms and 16 MiB for each guess of whoever reads the file.
_COST = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True, slots=True)
class _Refused:
    """`times` in a row, up to `last`, the login was refused of which `digest` is the hash under `key`."""

    key: str
    digest: str
    times: int
    last: datetime

    def is_of(self, login: tuple[str, ...]) -> bool:
        return secrets.compare_digest(_hashed(login, self.key), self.digest)


class RefusedLogins:
    """Says whether a login may be tried, and takes in what came of it.

    What the store refuses changes nothing here: a login is tried then. `at_once` is for a person who asks:
    every login is tried, and none that is refused counts.
    """

    def __init__(
        self, store: StateStore, now: Callable[[], datetime] = utc_now, *, at_once: bool = False
    ) -> None:
        self._store = store
        self._now = now
        self._at_once = at_once
        self._known: _Refused | None = None

    def require_due(self, settings: MicroshareSettings) -> None:
        """Raise AuthError where this login was refused too often to be tried again already."""
        self._known = known = self._load()
        if known is None or known.times < _TIMES or self._at_once or not known.is_of(login_of(settings)):
            return
        # A clock that was set back since says nothing.
        if timedelta(0) <= self._now() - known.last < _APART:
            # The error is kept, and read where nobody chose a zone.
            with times_in(UTC):
                last = moment(known.last)
            raise AuthError(
                f"microshare: login refused for user {printable(settings.username)} {known.times} times in a "
                f"row, last at {last}; check {names_of(settings)}: the login is tried "
                f"hourly now, so that the account is not locked; what is changed there, and `{PROGRAM} "
                "check`, is tried at once"
            )

    def refused(self, settings: MicroshareSettings) -> None:
        """Note that the API refused this login, without doubt."""
        if self._at_once:
            return
        login, known = login_of(settings), self._known
        if known is None or not known.is_of(login):
            key = secrets.token_hex(16)
            known = _Refused(key, _hashed(login, key), 0, self._now())
        self._save(replace(known, times=known.times + 1, last=self._now()))

    def accepted(self) -> None:
        """Note that a login was accepted."""
        if self._known is not None:
            self._save(None)

    def _load(self) -> _Refused | None:
        with suppress(StateError, KeyError, TypeError, ValueError):
            found: Any = (self._store.load(STATE_NAME).last_run or {})[_FIELD]
            key, digest = (bytes.fromhex(found[name]).hex() for name in ("key", "digest"))
            return _Refused(key, digest, int(found["times"]), parse_time(of_kind(str, found["last"])))
        return None

    def _save(self, known: _Refused | None) -> None:
        self._known = known
        said = known and {
            "key": known.key,
            "digest": known.digest,
            "times": known.times,
            "last": format_time(known.last),
        }
        with suppress(StateError):
            self._store.save(STATE_NAME, FeedState(last_run={_FIELD: said} if said else None), ())


def _hashed(login: tuple[str, ...], key: str) -> str:
    text = json.dumps(login).encode()
    return hashlib.scrypt(text, salt=bytes.fromhex(key), dklen=32, **_COST).hex()
