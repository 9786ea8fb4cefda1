"""The timer functions; everything they do is in `run_forwarder`.

With SCALE_OUT=queue a timer puts the shards of its feed on a storage queue, and `forward_shard` runs one.
"""

from collections.abc import Callable
from typing import Any, List  # noqa: UP035 - of lists the Functions worker knows this one alone

from app.base.interpreter import needing_packages

with needing_packages():
    import azure.functions as func

    from app.settings.scale_out import CONNECTION, QUEUE, is_by_queue
    from app.settings.schedules import schedule

app = func.FunctionApp()
_BY_QUEUE = is_by_queue()


def _in_shards(feed: str) -> Callable[[Callable[..., None]], Any]:
    """Where shards are run from the queue, give in place of a timer function one that puts them there."""

    def replaced(forwarder: Callable[..., None]) -> Any:
        def put_shards(
            timer: func.TimerRequest,
            shards: func.Out[List[str]],  # noqa: UP006 - see above
            context: func.Context = None,  # type: ignore[assignment]
        ) -> None:
            with needing_packages():
                from app.run.tick import plan_tick
                from app.timer import wired_for_timer

            with wired_for_timer(feed, timer, context) as wiring:
                shards.set([message.text() for message in plan_tick(feed, wiring)])

        if not _BY_QUEUE:
            return forwarder
        put_shards.__name__ = forwarder.__name__
        return app.queue_output(arg_name="shards", queue_name=QUEUE, connection=CONNECTION)(put_shards)

    return replaced


@app.timer_trigger(
    arg_name="timer", schedule=schedule("people_counter"), run_on_startup=False, use_monitor=True
)
@_in_shards("people_counter")
def people_counter_forwarder(timer: func.TimerRequest, context: func.Context = None) -> None:  # type: ignore[assignment]
    """Forward people counts."""
    _run("people_counter", timer, context)


@app.timer_trigger(
    arg_name="timer", schedule=schedule("hourly_snapshot"), run_on_startup=False, use_monitor=True
)
@_in_shards("hourly_snapshot")
def hourly_snapshot_forwarder(timer: func.TimerRequest, context: func.Context = None) -> None:  # type: ignore[assignment]
    """Forward hourly occupancy snapshots."""
    _run("hourly_snapshot", timer, context)


if _BY_QUEUE:

    @app.queue_trigger(arg_name="message", queue_name=QUEUE, connection=CONNECTION)
    def forward_shard(message: func.QueueMessage, context: func.Context = None) -> None:  # type: ignore[assignment]
        """Forward one shard of a feed."""
        with needing_packages():
            from app.timer import run_message

        run_message(message.get_body().decode("utf-8", "replace"), context)


def _run(feed: str, timer: func.TimerRequest, context: func.Context | None) -> None:
    # The host imports this file to list the functions, and needs nothing of a run for that.
    with needing_packages():
        from app.run.forwarder import run_forwarder
        from app.timer import wired_for_timer

    with wired_for_timer(feed, timer, context) as wiring:
        run_forwarder(feed, wiring)
