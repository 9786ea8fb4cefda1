"""What every reader of the outside must hold, whatever it is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.base.errors import ForwarderError
from tests.canaries import API_KEY, HUB_KEY, PASSWORD, forms, registry_of

T = TypeVar("T")

SECRETS = (PASSWORD, HUB_KEY, API_KEY)
_FORMS = frozenset(form for secret in SECRETS for form in forms(secret))
# A case has some kilobytes and takes milliseconds. What takes this long on any machine grows faster
# than its input, or believes a number in it.
MOST_CPU_S = 5.0


class Broken(AssertionError):
    """Something that is promised of a reader does not hold."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a reader gave, or the error that it may raise."""

    value: T | None
    error: Exception | None

    def result(self) -> T:
        """Give what was read. Raises Broken where there was an error instead."""
        if self.error is not None:
            raise Broken(f"good input is hidden by {self.error!r}")
        return self.value  # type: ignore[return-value]  # None may be what was read


def outcome(
    read: Callable[[], T], *documented: type[Exception], secrets: Iterable[str] = _FORMS
) -> Outcome[T]:
    """Read within a bounded time, and give the result or one of the documented errors.

    Any other exception goes through, and is a finding. Raises Broken where the error shows a secret.
    """
    began = time.process_time()
    try:
        found = Outcome(read(), None)
    except documented as error:
        found = Outcome(None, error)
        if isinstance(error, ForwarderError):
            shows_no_secret([str(error)], secrets)
    took = time.process_time() - began
    if took > MOST_CPU_S:
        raise Broken(f"took {took:.1f} s of the processor's time")
    return found


def shows_no_secret(texts: Iterable[str], secrets: Iterable[str] = _FORMS) -> None:
    """State that no text shows one of the secrets, which are given in all forms that count."""
    for text in texts:
        if shown := [secret for secret in secrets if secret in text]:
            raise Broken(f"{shown} in {text!r}")


def said_by(error: BaseException) -> Iterator[str]:
    """Give the texts of an error and of what led to it, as a traceback shows them."""
    at: BaseException | None = error
    while at is not None:
        yield str(at)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)


def holds(good: Collection[object], among: Collection[object], what: str) -> None:
    """State that all that is good came out, whatever stood beside it."""
    lost = [one for one in good if one not in among]
    if lost:
        raise Broken(f"{what}: {lost} did not come out beside what is odd")


def registry_of_its_own(secrets: Iterable[str] = SECRETS) -> AbstractContextManager[None]:
    """Forget afterwards what a case registered as secret, as every process begins with none.

    What settings hold is registered before anything else is read, so it is here, too.
    """
    return registry_of(secrets)
