"""A request that was made, as LOG_LEVEL=DEBUG tells of it: what for, how long it took, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """One request over HTTP: `of` names what was asked for, in words that hold no secret.

    `status` is None where no answer came, `readings` None where none could: of a login, of an error.
    """

    of: Mapping[str, str]
    took_s: float
    status: int | None = None
    readings: int | None = None
    error: str | None = None

    def as_fields(self) -> dict[str, object]:
        """Give it as fields of a log line, without those that do not apply."""
        came = {"status": self.status, "ms": round(self.took_s * 1000), "readings": self.readings}
        fields: dict[str, object] = {**self.of, **came, "error": self.error}
        return {name: value for name, value in fields.items() if value is not None}
