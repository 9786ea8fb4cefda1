"""The version of this forwarder; pyproject.toml, which is not deployed, says the same."""

from __future__ import annotations

VERSION = "1.0.0"
