"""A third feed as somebody adds it: its module, its entry, its timer function; and the platform's side of it.

Everything that tells it from the two others is another thing here: recType, placeholders, view, names of
buildings, and how its readings look.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

from app.base.program import APP_ROOT
from emulators.estate import EmulatedFeed, Entry, every

NAME = "example_desks"
MODULE = '''\
"""Who sits at which desk, one event a reading."""

from app.feeds.feed import six_fields
from app.feeds.flat import FlatFeed

FEED = FlatFeed(
    rec_type="io.example.desks",
    state_name="exampledesksstate",
    placeholders={**six_fields("presence", "battery"), "bucket": "raw"},
)
'''
ENTRY = """\
  example_desks:
    schedule: ${EXAMPLE_DESKS_SCHEDULE:-0 */10 * * * *}
    view_id: ${MICROSHARE_DESKS_DASHBOARD_VIEW_ID:-}
    data_context: ${MICROSHARE_DESKS_DATA_CONTEXT:-["desk"]}
    cluster_ids: ${MICROSHARE_PC_DEVICE_CLUSTER_ID:-}
    locations: ${MICROSHARE_LOCATIONS:-[]}
    location_prefix: ${MICROSHARE_LOCATION_PREFIX:-}
    look_back: 2h

"""
FUNCTION = '''

@app.timer_trigger(
    arg_name="timer", schedule=schedule("example_desks"), run_on_startup=False, use_monitor=True
)
@_in_shards("example_desks")
def example_desks_forwarder(timer: func.TimerRequest, context: func.Context = None) -> None:
    """Forward who sits where."""
    _run("example_desks", timer, context)
'''


def _entry(made_of: bytes) -> Entry:
    return {
        "record": made_of[4:16].hex(),
        "presence": {"occupied": made_of[0] > 127, "minutes": made_of[1] % 10},
        "battery": {"volts": 3.6},
        "internal": {"frame": made_of[2]},
    }


DESKS = EmulatedFeed(
    name="desks",
    rec_type="io.example.desks",
    view_id="ffffffffffffffffffffff0c",
    view_name="Desk dashboard",
    context=("example", "desk"),
    sub_documents=("presence", "battery", "internal"),
    make_day=every(10, ("example", "desk"), _entry),
    variables={"MICROSHARE_DESKS_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0c"},
    placeholders=("bucket",),
    called=lambda building: building.snapshot_name,
    places=lambda building: tuple((*tags, "Desk") for tags in building.rooms[:2]),
)


def module() -> ModuleType:
    """Give the feed's module, as Python would load it."""
    made = ModuleType("app.feeds.example_desks")
    exec(compile(MODULE, "app/feeds/example_desks.py", "exec"), vars(made))
    return made


def with_entry(config: str) -> str:
    """Give the text of config.yaml with the feed's entry."""
    return config.replace("\nevent_hubs:", f"\n{ENTRY}event_hubs:", 1)


def add_to(tree: Path) -> None:
    """Copy what is deployed, and what the demo needs, to `tree`, and add the feed as a maintainer does."""
    for folder in ("app", "emulators", "deploy/consumers/python"):
        shutil.copytree(APP_ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "app" / "feeds" / "example_desks.py").write_text(MODULE)
    shutil.copy(__file__, tree / "emulators" / "third_feed.py")
    with (tree / "emulators" / "estate.py").open("a") as estate:
        estate.write("\nfrom emulators.third_feed import DESKS\n\nFEEDS = (*FEEDS, DESKS)\n")
    (tree / "config.yaml").write_text(with_entry((APP_ROOT / "config.yaml").read_text()))
    (tree / "function_app.py").write_text((APP_ROOT / "function_app.py").read_text() + FUNCTION)
