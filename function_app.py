"""The two timer functions; everything they do is in `run_forwarder`."""

import azure.functions as func

from app.run.forwarder import run_forwarder
from app.settings.loading import schedule
from app.timer import wired_for_timer

app = func.FunctionApp()


@app.timer_trigger(
    arg_name="timer", schedule=schedule("people_counter"), run_on_startup=False, use_monitor=True
)
def people_counter_forwarder(timer: func.TimerRequest, context: func.Context = None) -> None:  # type: ignore[assignment]
    """Forward people counts."""
    with wired_for_timer("people_counter", timer, context) as wiring:
        run_forwarder("people_counter", wiring)


@app.timer_trigger(
    arg_name="timer", schedule=schedule("hourly_snapshot"), run_on_startup=False, use_monitor=True
)
def hourly_snapshot_forwarder(timer: func.TimerRequest, context: func.Context = None) -> None:  # type: ignore[assignment]
    """Forward hourly occupancy snapshots."""
    with wired_for_timer("hourly_snapshot", timer, context) as wiring:
        run_forwarder("hourly_snapshot", wiring)
