"""Keeps each reading of a hub once, as it came last, in PostgreSQL."""

import os
from pathlib import Path
from typing import List  # noqa: UP035 - of lists the Functions worker knows this one alone

import azure.functions as func
import psycopg
from readings import rows_of

UPSERT = (Path(__file__).resolve().parent / "upsert.sql").read_text("utf-8")
UNREAD = "INSERT INTO unread (enqueued, sequence, body, error) VALUES (%s, %s, %s, %s)"
# What the database says of a row, and would say again: a character or number that no type has, a key too long
# for an index. All else passes: no connection, a full disk, a table that is missing.
_REFUSALS = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)

app = func.FunctionApp()


# Without a retry the host moves its checkpoint past events of an invocation that failed: they would be lost.
@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%EVENT_HUB_NAME%",
    connection="EVENT_HUB",
    consumer_group="%EVENT_HUB_CONSUMER_GROUP%",
    cardinality="many",
)
@app.retry(
    strategy="exponential_backoff",
    max_retry_count="-1",
    minimum_interval="00:00:05",
    maximum_interval="00:05:00",
)
def keep_readings(events: List[func.EventHubEvent]) -> None:  # noqa: UP006 - see above
    """Take all events in one transaction; where it fails, they are given again."""
    with psycopg.connect(os.environ["POSTGRES"]) as connection:
        for event in events:
            _take(connection, event)


def _take(connection: "psycopg.Connection", event: func.EventHubEvent) -> None:
    stored = {"enqueued": event.enqueued_time, "sequence": event.sequence_number}
    body = event.get_body()
    try:
        rows = [row | stored for row in rows_of(body)]
        # Of an event all rows are taken, or none.
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(UPSERT, rows)
    except (ValueError, *_REFUSALS) as error:
        # It would fail again and again, and hold up its partition: what is wrong with it does not pass.
        kept = body if isinstance(body, bytes) else body.encode()
        connection.execute(UNREAD, (event.enqueued_time, event.sequence_number, kept, repr(error)))
