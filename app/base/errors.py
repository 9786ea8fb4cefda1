"""The exception tree, by what the caller should do.

Every message says the place, what is wrong with the value seen, and what to do.
Messages are redacted as they are made, so that no path, not even a traceback
that the Functions host keeps, can show a secret.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.base.grouping import by_key
from app.base.redaction import redact


class ForwarderError(Exception):
    """Anything this forwarder can explain. Its text is safe to show."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class SettingsError(ForwarderError):
    """The settings are refused: nothing was asked or sent. Holds every problem found.

    They stand in the `source`, or each in the one that `sources` names for it, under which it is told.
    """

    def __init__(
        self, problems: Sequence[str], *, source: str = "settings", sources: Sequence[str] = ()
    ) -> None:
        self.problems = tuple(redact(problem) for problem in problems)
        places = sources or [source] * len(self.problems)
        groups = by_key(zip(places, self.problems, strict=True)) or {source: []}
        super().__init__("\n".join(_listed(place, found) for place, found in groups.items()))


def _listed(source: str, problems: Sequence[str]) -> str:
    noun = "problem" if len(problems) == 1 else "problems"
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return f"{source}: {len(problems)} {noun}{lines}"


class FeedOff(SettingsError):
    """A feed without a view id was asked to run by name."""


# --- the source -----------------------------------------------------------------------------------


class SourceError(ForwarderError):
    """The Microshare API did not give what was asked for."""


class AuthError(SourceError):
    """The login is refused, or its token is: no further call of this run can succeed.

    `of_credentials`: the API itself refuses them, without doubt; the same again would be refused again.
    """

    def __init__(self, message: str, *, of_credentials: bool = False) -> None:
        super().__init__(message)
        self.of_credentials = of_credentials


class NoPermission(SourceError):
    """The API answers, but shows nothing: rights are missing. Not the same as no data."""


class SourceRefused(SourceError):
    """Permanent until someone acts: unknown view, template error, redirect, bad request."""


class BadResponse(SourceError):
    """An answer that cannot be read as what it should be: truncated, HTML, no `objs`, pages that differ."""


class AnswerTooLarge(BadResponse):
    """An answer over the limit on bytes: a shorter window may fit."""


class WindowTooWide(SourceError):
    """The source could not answer for so long a window: ask for a shorter one."""


class SourceUnavailable(SourceError):
    """Passing trouble (5xx, 429, connection) that outlasted the bounded retries."""


class ClocksDiffer(ForwarderError):
    """The host's clock and the API's are too far apart to tell what time it is: nothing is done by them."""


class OutputLost(ForwarderError):
    """What a command says could not be written; what it does is not touched by that."""


class Interrupted(ForwarderError):
    """The run's time is over, or it was told to stop, while waiting."""


# --- hubs -----------------------------------------------------------------------------------------


class HubError(ForwarderError):
    """A hub did not take what it was sent."""


class HubBusy(HubError):
    """The hub asks for a pause (server-busy): wait, then send the same batch again."""


class HubUnreachable(HubError):
    """Connection lost, refused, or a call past its deadline: leave the hub alone for this run.

    `beside_others` is the message where other hubs are reached the same way, which rules out that way.
    """

    def __init__(self, message: str, *, beside_others: str | None = None) -> None:
        super().__init__(message)
        self._beside_others = beside_others

    @property
    def depends_on_others(self) -> bool:
        """Whether what to do depends on whether other hubs are reached the same way."""
        return self._beside_others is not None

    def where_others_are_reached(self) -> HubUnreachable:
        return self if self._beside_others is None else HubUnreachable(self._beside_others)


class HubRefused(HubError):
    """Rights, unknown or disabled entity: permanent until someone acts."""


class BatchRejected(HubError):
    """The hub rejected this batch; others may still pass."""


class MessageTooLarge(HubError):
    """One event is larger than the hub takes."""


# --- state ----------------------------------------------------------------------------------------


class StateError(ForwarderError):
    """The state store cannot be used as it is."""


class StateDamaged(StateError):
    """What is stored cannot be read as state; it is never taken for empty."""


class StateConflict(StateError):
    """Another run changed locations since they were loaded. Names all that were not saved."""

    def __init__(self, message: str, locations: Sequence[str]) -> None:
        super().__init__(message)
        self.locations = tuple(locations)


class StateTooLarge(StateError):
    """Documents do not fit the store: those of the named locations, or where none is named the feed's own."""

    def __init__(self, message: str, locations: Sequence[str]) -> None:
        super().__init__(message)
        self.locations = tuple(locations)


class LockHeld(StateError):
    """Another run works on this feed."""


class LockLost(StateError):
    """The run's lock could not be kept; nothing more may be sent."""
