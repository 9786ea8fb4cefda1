"""Errors as the SDK of Event Hubs raises them."""

from __future__ import annotations

from azure.eventhub.exceptions import EventHubError


class Condition(Exception):
    """What the SDK keeps as the reason of its errors."""

    def __init__(self, condition: str, description: str = "said the service") -> None:
        super().__init__(f"Error condition: {condition}")
        self.condition = condition.encode()
        self.description = description


def sdk_error(kind: type[EventHubError], condition: str) -> EventHubError:
    return kind("failed", Condition(condition))  # type: ignore[arg-type]  # as the SDK itself calls it


def within(error: EventHubError, cause: Exception) -> EventHubError:
    """Give an error as the SDK raises it for what it did not expect: `from None`."""
    try:
        try:
            raise cause
        except Exception:  # noqa: BLE001
            raise error from None
    except EventHubError as raised:
        return raised
