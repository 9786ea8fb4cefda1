"""The timer functions; everything they do is in `run_forwarder`."""

import azure.functions as func

from app.settings.schedules import schedule

app = func.FunctionApp()


@app.timer_trigger(
    arg_name="timer", schedule=schedule("people_counter"), run_on_startup=False, use_monitor=True
)
def people_counter_forwarder(timer: func.TimerRequest, context: func.Context = None) -> None:  # type: ignore[assignment]
    """Forward people counts."""
    _run("people_counter", timer, context)


@app.timer_trigger(
    arg_name="timer", schedule=schedule("hourly_snapshot"), run_on_startup=False, use_monitor=True
)
def hourly_snapshot_forwarder(timer: func.TimerRequest, context: func.Context = None) -> None:  # type: ignore[assignment]
    """Forward hourly occupancy snapshots."""
    _run("hourly_snapshot", timer, context)


def _run(feed: str, timer: func.TimerRequest, context: func.Context | None) -> None:
    # The host imports this file to list the functions, and needs nothing of a run for that.
    from app.run.forwarder import run_forwarder
    from app.timer import wired_for_timer

    with wired_for_timer(feed, timer, context) as wiring:
        run_forwarder(feed, wiring)
