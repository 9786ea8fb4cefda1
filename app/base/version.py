"""The version of this forwarder; pyproject.toml, which is not deployed, says the same."""

from __future__ import annotations

from datetime import UTC, datetime

VERSION = "1.0.1"
# A clock that says earlier is wrong.
RELEASED = datetime(2026, 11, 28, tzinfo=UTC)
