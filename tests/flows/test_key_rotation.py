"""A hub's keys are renewed: in the order that docs/key-rotation.md gives, and in the wrong one."""

from __future__ import annotations

import json
from datetime import timedelta

from emulators.eventhubs import FALSE_KEY, FALSE_SECOND_KEY
from tests.environments.installation import START, Clock, Installation

DAY = timedelta(hours=24)
QUARTER = {"minutes": 15}


def use(installation: Installation, *, a: str, b: str) -> None:
    """Put keys of the policy into the settings of the two hubs."""
    first, second = (installation.hubs.connection_string(hub, key=key) for hub, key in (("a", a), ("b", b)))
    installation.environ |= {
        "EVENT_HUB_CONNECTION_STRING": first,
        "EVENT_HUB_CONNECTION_STRINGS": json.dumps([second]),
    }


def test_keys_that_are_renewed_one_after_the_other_fail_no_run_and_repeat_nothing(
    installation: Installation, clock: Clock
) -> None:
    assert installation.run().ok
    use(installation, a=FALSE_SECOND_KEY, b=FALSE_SECOND_KEY)
    clock.move(**QUARTER)
    assert installation.run().ok
    installation.hubs.renew_key(FALSE_KEY, "renewed-first")
    clock.move(**QUARTER)
    assert installation.run().ok
    use(installation, a="renewed-first", b="renewed-first")
    installation.hubs.renew_key(FALSE_SECOND_KEY, "renewed-second")
    clock.move(**QUARTER)

    report = installation.run()

    assert report.ok, report.failures
    assert installation.breaches(installation.a, START - DAY) == []
    assert installation.breaches(installation.b, START - DAY) == []


def test_a_key_that_is_renewed_too_early_stops_its_hub_alone_until_the_new_one_is_set(
    installation: Installation, clock: Clock
) -> None:
    use(installation, a=FALSE_KEY, b=FALSE_SECOND_KEY)
    installation.run()
    reached = installation.position("Mill & Lane", "a")
    installation.hubs.renew_key(FALSE_KEY, "renewed-too-early")
    clock.move(**QUARTER)
    report = installation.run()

    assert [failure.hub for failure in report.failures] == [installation.key("a")]
    assert "renew the key" in report.failures[0].error
    assert installation.position("Mill & Lane", "a") == reached
    assert installation.position("Mill & Lane", "b") == clock.now

    use(installation, a="renewed-too-early", b=FALSE_SECOND_KEY)
    clock.move(**QUARTER)
    assert installation.run().ok
    assert installation.breaches(installation.a, START - DAY) == []
    assert installation.breaches(installation.b, START - DAY) == []
