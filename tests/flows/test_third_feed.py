"""A further feed is one module, one timer function and one entry in config.yaml."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from app.feeds import people_counter
from app.settings.loading import APP_ROOT, schedule
from tests.environments.installation import START, Installation, arrivals
from tests.promise import breaches

ENTRY = """
  door_counter:
    schedule: 0 */5 * * * *
    view_id: ${MICROSHARE_PC_DASHBOARD_VIEW_ID:-}
    data_context: ["people"]
    locations: ["Mill & Lane"]
    look_back: 2h

event_hubs:"""


def test_a_third_feed_is_one_module_and_one_entry(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("app.feeds.door_counter")
    module.FEED = replace(people_counter.FEED, title="door counter", state_name="doorcounterstate")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "app.feeds.door_counter", module)
    config = tmp_path / "config.yaml"
    config.write_text((APP_ROOT / "config.yaml").read_text().replace("\nevent_hubs:", ENTRY, 1))
    installation.environ["FORWARDER_CONFIG"] = str(config)

    report = installation.run("door_counter")

    published = installation.published(START - timedelta(hours=24))
    of_one = [reading for reading in published if reading.location == "Mill & Lane"]
    assert report.ok, report.failures
    assert breaches(of_one, arrivals(installation.b.received())) == []
    assert (tmp_path / "state" / "doorcounterstate.json").exists()
    assert schedule("door_counter", {"FORWARDER_CONFIG": str(config)}) == "0 */5 * * * *"
