"""What is measured of a run, and how it reaches Application Insights: by the real exporter, to a stand-in."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.base.checkpoints import Gap
from app.base.log import LOGGER_NAME, configure_logging
from app.base.program import APP_ROOT
from app.base.readings import Slice
from app.base.redaction import redact, register_secret
from app.base.shards import Shard
from app.quality.lateness import Lateness
from app.run.report import Failure, HubReport, Quarantined, Report
from app.settings.schema import TelemetrySettings
from app.telemetry.azure_monitor import send
from app.telemetry.packages import lacking_for_telemetry
from app.telemetry.run_telemetry import METRICS, Span, Spans, exporter, measurements, span_of
from tests.canaries import PASSWORD, forms, shown_in
from tests.environments.ingestion import FALSE_KEY, Ingestion

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
A, B, PAUSED = "example.test/a", "example.test/b", "example.test/paused"
REPORT = Report(
    run="r1",
    feed="people_counter",
    started=NOON,
    until=NOON,
    took_s=4.25,
    locations=5,
    slices=6,
    api_calls=7,
    hubs={
        A: HubReport(events=20, readings=21, duplicates=3, bytes=4000, delivered_until=NOON, behind_s=0.0),
        B: HubReport(behind_s=900.0, error="down"),
        PAUSED: HubReport(behind_s=7200.0, paused=True),
    },
    left=5,
    lateness=Lateness(21, 430.0, 860.0, 900.0),
    quarantined=[Quarantined("Quay+One", (A,), "id", "too large", "nowhere")],
    gaps=[("Quay+One", Gap(Slice(NOON, NOON + timedelta(hours=1)), "saturated", NOON))],
    failures=[
        Failure(None, B, "down"),
        Failure("Quay+One", None, "404"),
        Failure("Mill & Lane", None, "404"),
    ],
)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FEED = "people_counter"
MEASURED = {
    ("forwarder.took_s", FEED, None): 4.25,
    ("forwarder.api_calls", FEED, None): 7,
    ("forwarder.left", FEED, None): 5,
    ("forwarder.quarantined", FEED, None): 1,
    ("forwarder.gaps", FEED, None): 1,
    ("forwarder.failures", FEED, None): 2,
    ("forwarder.lateness_median_s", FEED, None): 430.0,
    ("forwarder.lateness_p95_s", FEED, None): 860.0,
    ("forwarder.lateness_max_s", FEED, None): 900.0,
    ("forwarder.readings", FEED, A): 21,
    ("forwarder.events", FEED, A): 20,
    ("forwarder.bytes", FEED, A): 4000,
    ("forwarder.duplicates", FEED, A): 3,
    ("forwarder.failures", FEED, A): 0,
    ("forwarder.behind_s", FEED, A): 0.0,
    ("forwarder.readings", FEED, B): 0,
    ("forwarder.events", FEED, B): 0,
    ("forwarder.bytes", FEED, B): 0,
    ("forwarder.duplicates", FEED, B): 0,
    ("forwarder.failures", FEED, B): 1,
    ("forwarder.behind_s", FEED, B): 900.0,
}


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    with Ingestion() as found:
        register_secret(FALSE_KEY)
        yield found


@pytest.fixture
def settings(ingestion: Ingestion) -> TelemetrySettings:
    return TelemetrySettings(ingestion.connection_string, "example-app")


def said_in(log: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Give our own lines; pytest also catches what the exporter's loggers keep to themselves."""
    return [json.loads(record.getMessage()) for record in log.records if record.name == LOGGER_NAME]


def test_what_is_measured_of_a_shard_says_of_which() -> None:
    found = measurements(replace(REPORT, shard=Shard(1, 8)))

    assert len(found) == len(MEASURED)
    assert {one.attributes["shard"] for one in found} == {"2/8"}
    assert all("shard" not in one.attributes for one in measurements(REPORT))


def test_a_run_is_measured_by_feed_and_by_hub() -> None:
    found = measurements(REPORT)

    assert {
        (one.name, one.attributes["feed"], one.attributes.get("hub")): one.value for one in found
    } == MEASURED
    assert {one.name for one in found} == set(METRICS)


def test_spans_keep_what_took_longest_in_the_order_it_began() -> None:
    at = 0.0
    spans = Spans(2, now=lambda: NOON + timedelta(seconds=at), monotonic=lambda: at)
    for took_s in (3.0, 1.0, 2.0):
        end = spans.begin("query", location=str(took_s))
        at += took_s
        end(None)

    assert spans.longest() == [
        Span("query", NOON, 3.0, {"location": "3.0"}),
        Span("query", NOON + timedelta(seconds=4), 2.0, {"location": "2.0"}),
    ]


def test_metrics_and_the_trace_arrive_as_one_run_under_the_invocation(
    settings: TelemetrySettings, ingestion: Ingestion
) -> None:
    spans = Spans(now=lambda: NOON, monotonic=iter([10.0, 11.5]).__next__)
    with pytest.raises(ValueError, match="no answer"), spans.of("query", location="Quay+One"):
        raise ValueError("no answer")

    exporter(settings, spans, send, TRACEPARENT)(REPORT, 60.0)

    assert ingestion.metrics() == MEASURED
    run, query = sorted(ingestion.data("RemoteDependencyData"), key=lambda span: span["name"], reverse=True)
    assert (run["name"], run["duration"], run["success"]) == ("run people_counter", "0.00:00:04.250", False)
    assert run["properties"]["error"] == "people_counter: down (and 2 more)"
    assert run["properties"]["run"] == "r1"
    assert (query["name"], query["duration"], query["success"]) == ("query", "0.00:00:01.500", False)
    assert query["properties"] == {"location": "Quay+One", "error": "no answer"}
    assert run["tags"]["ai.operation.id"] == query["tags"]["ai.operation.id"] == TRACEPARENT.split("-")[1]
    assert run["tags"]["ai.operation.parentId"] == TRACEPARENT.split("-")[2]
    assert query["tags"]["ai.operation.parentId"] == run["id"]
    assert {envelope["tags"]["ai.cloud.role"] for envelope in ingestion.envelopes} == {"example-app"}
    assert {envelope["iKey"] for envelope in ingestion.envelopes} == {FALSE_KEY}
    assert ingestion.paths == ["/v2.1/track", "/v2.1/track"]


def test_no_secret_of_what_went_wrong_is_sent_in_any_form(
    settings: TelemetrySettings, ingestion: Ingestion
) -> None:
    register_secret(PASSWORD)
    spans = Spans()
    told = " ".join(sorted(forms(PASSWORD)))
    with pytest.raises(ValueError, match="it said"), spans.of("query", location=told):
        raise ValueError(f"it said {told}")

    exporter(settings, spans, send, TRACEPARENT)(replace(REPORT, failures=[Failure(None, B, told)]), 60.0)

    assert "it said ***" in str(ingestion.data("RemoteDependencyData"))
    assert shown_in(json.dumps(ingestion.envelopes, ensure_ascii=False), [PASSWORD]) == []


def test_a_second_run_of_the_process_is_measured_on_its_own(
    settings: TelemetrySettings, ingestion: Ingestion
) -> None:
    for _ in range(2):
        exporter(settings, Spans(), send)(REPORT, 60.0)

    assert ingestion.metrics() == MEASURED
    assert len({span["tags"]["ai.operation.id"] for span in ingestion.data("RemoteDependencyData")}) == 2


def test_nothing_of_the_exporter_goes_on_when_the_run_is_over(settings: TelemetrySettings) -> None:
    before = set(threading.enumerate())

    exporter(settings, Spans(), send)(REPORT, 60.0)

    # The stand-in's threads are not the exporter's.
    ours = [found for found in set(threading.enumerate()) - before if "process_request" not in found.name]
    assert [thread for thread in ours if thread.name != "telemetry"] == []


def test_an_exporter_that_does_not_come_back_does_not_hold_up_the_end_of_a_command(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configure_logging("INFO", to_stderr=False)
    never, threads = threading.Event(), list[threading.Thread]()

    def stalls(*_: object) -> str | None:
        threads.append(threading.current_thread())
        never.wait()
        return None

    exporter(TelemetrySettings("unused", "example-app"), Spans(), stalls)(REPORT, 0.0)
    left = [(thread.daemon, thread.is_alive()) for thread in threads]
    never.set()

    # A process waits at its end for every thread but a daemon.
    assert left == [(True, True)]
    assert "no answer within 1 s" in said_in(caplog)[0]["error"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda ingestion: setattr(ingestion, "status", 400), "Bad Request"),
        (lambda ingestion: setattr(ingestion, "status", 503), "unavailable"),
        (lambda ingestion: ingestion.__exit__(), "refused"),
        (lambda ingestion: setattr(ingestion, "stalled", True), "no answer within 1 s"),
    ],
    ids=["refused", "unavailable", "absent", "stalled"],
)
def test_what_is_not_taken_is_one_line_without_a_secret(
    settings: TelemetrySettings,
    ingestion: Ingestion,
    caplog: pytest.LogCaptureFixture,
    fault: object,
    said: str,
) -> None:
    configure_logging("INFO", to_stderr=False)
    assert callable(fault)
    fault(ingestion)

    exporter(settings, Spans(), send)(REPORT, 0.0 if ingestion.stalled else 60.0)

    [line] = said_in(caplog)
    assert (line["event"], line["run"], line["feed"]) == ("telemetry.failed", "r1", "people_counter")
    assert said in line["error"]
    assert FALSE_KEY not in line["error"]


def test_a_connection_string_the_exporter_refuses_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    configure_logging("INFO", to_stderr=False)

    exporter(TelemetrySettings("InstrumentationKey=no-key", "x"), Spans(), send)(REPORT, 60.0)

    [line] = said_in(caplog)
    assert "nvalid instrumentation key" in line["error"]


def test_the_span_of_a_run_that_ended_well_has_no_error() -> None:
    well = Report(**{name: getattr(REPORT, name) for name in REPORT.__slots__} | {"failures": ()})

    assert span_of(well).error is None
    assert redact(str(span_of(well).attributes["ok"])) == "True"


@pytest.mark.parametrize(
    ("environ", "do"),
    [
        ({}, f"{sys.executable} -m pip install -r {APP_ROOT / 'requirements-telemetry.txt'}"),
        ({"WEBSITE_SITE_NAME": "example-app"}, "`-r requirements-telemetry.txt` into requirements.txt"),
    ],
    ids=["here", "in Azure"],
)
def test_a_package_that_telemetry_lacks_is_named_with_what_to_do(environ: dict[str, str], do: str) -> None:
    said = lacking_for_telemetry(["json", "nowhere.exporter"], environ)

    assert "the package nowhere.exporter is not installed" in str(said)
    assert do in str(said)
    assert lacking_for_telemetry(["json"], environ) is None
