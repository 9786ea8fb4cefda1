"""Sends a run's telemetry to Application Insights, through Azure Monitor's OpenTelemetry exporter.

Of Microsoft's distribution only the exporter is used, one call for the trace and one for the
metrics when a run is over. The rest of it would instrument the HTTP clients, whose URLs may hold a
password, and keep threads that export while the process is frozen, or hold up its end.

Imported only where telemetry is on: it takes half a second.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter, AzureMonitorTraceExporter
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span as OpenSpan
from opentelemetry.trace import Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.base.instants import EPOCH
from app.base.redaction import redact_json
from app.network.identity import credential
from app.network.proxies import azure_options
from app.settings.connection_strings import insights_url
from app.settings.schema import TelemetrySettings
from app.telemetry.run_telemetry import METRICS, Measurement, Span

# The exporter sends statistics of itself to Microsoft, and asks a service of theirs what to do,
# unless told otherwise. Nothing is to go anywhere but where the settings say.
for _name in (
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED",
):
    os.environ.setdefault(_name, "true")

# What the exporter logs could hold an envelope; of what goes wrong the run makes a line of its own.
_LOG = logging.getLogger("azure.monitor.opentelemetry")
_LOG.propagate = False

# What the exporter takes for passing it does not mention: 429, 5xx.
_UNAVAILABLE = "it is busy or unavailable"
_SCOPE = "microshare-forwarder"
# A run waits for two calls, one after the other, and is over when they are.
_CALL_S = 5
_MICROSECOND = timedelta(microseconds=1)


class _Complaints(logging.Handler):
    """Keeps what the exporter says in this thread: its results do not say why."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.last: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.last = record.getMessage().rstrip(".")


def send(
    settings: TelemetrySettings,
    run: Span,
    parts: Sequence[Span],
    measured: Sequence[Measurement],
    traceparent: str = "",
) -> str | None:
    """Send a run's trace and metrics; give what went wrong, None where nothing did.

    The calls have limits of their own, of some seconds; what is not taken is dropped, not stored.
    Raises ValueError for a connection string that cannot be read.
    """
    resource = Resource({SERVICE_NAME: settings.role})
    options: dict[str, Any] = {
        "connection_string": settings.connection_string,
        "disable_offline_storage": True,
        "timeout": _CALL_S,
        "read_timeout": _CALL_S,
        "retry_total": 1,
        **azure_options(settings.network, insights_url(settings.connection_string)),
    }
    if settings.by_identity:
        options["credential"] = credential(settings.network)
    complaints = _Complaints()
    _LOG.addHandler(complaints)
    try:
        traces = AzureMonitorTraceExporter(**options)
        if traces.export(_trace(resource, run, parts, traceparent)) is not SpanExportResult.SUCCESS:
            return complaints.last or _UNAVAILABLE
        metrics = AzureMonitorMetricExporter(**options)
        data = _metrics(resource, measured)
        if data is not None and metrics.export(data) is not MetricExportResult.SUCCESS:
            return complaints.last or _UNAVAILABLE
    finally:
        _LOG.removeHandler(complaints)
    return None


def _trace(resource: Resource, run: Span, parts: Sequence[Span], traceparent: str) -> Sequence[ReadableSpan]:
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
    ended = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(ended))
    tracer = provider.get_tracer(_SCOPE)
    above = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    whole = _begin(tracer, run, above)
    for part in parts:
        _end(_begin(tracer, part, set_span_in_context(whole, Context())), part)
    _end(whole, run)
    return ended.get_finished_spans()


def _begin(tracer: Tracer, span: Span, above: Context) -> OpenSpan:
    attributes = redact_json(dict(span.attributes) | ({"error": span.error} if span.error else {}))
    return tracer.start_span(span.name, above, attributes=attributes, start_time=_ns(span.started))


def _end(begun: OpenSpan, span: Span) -> None:
    begun.set_status(Status(StatusCode.OK if span.error is None else StatusCode.ERROR))
    begun.end(_ns(span.started + timedelta(seconds=span.took_s)))


def _ns(instant: datetime) -> int:
    return (instant - EPOCH) // _MICROSECOND * 1000


def _metrics(resource: Resource, measured: Sequence[Measurement]) -> MetricsData | None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    meter = provider.get_meter(_SCOPE)
    for found in measured:
        unit, adds_up = METRICS[found.name]
        if adds_up:
            meter.create_counter(found.name, unit).add(found.value, found.attributes)
        else:
            meter.create_gauge(found.name, unit).set(found.value, found.attributes)
    data = reader.get_metrics_data()
    provider.shutdown()
    return data
