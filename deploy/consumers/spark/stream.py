"""Keeps each reading of a hub once, as it came last, in a Delta table: a stream, from the Kafka endpoint.

    spark-submit stream.py NAMESPACE HUB CHECKPOINT

EVENT_HUB_CONNECTION_STRING has the connection string, with a key that may listen; CHECKPOINT is a folder
that stays.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

HERE = Path(__file__).resolve().parent
# Databricks has Kafka's client under another name: kafkashaded.org.apache.kafka.
LOGIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


def events_of(spark: SparkSession, namespace: str, hub: str, connection_string: str) -> DataFrame:
    """Give the hub's events: their body, when the hub stored each, and where in its partition it is."""
    login = f'{LOGIN_MODULE} required username="$ConnectionString" password="{connection_string}";'
    read = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", f"{namespace}.servicebus.windows.net:9093")
        .option("kafka.security.protocol", "SASL_SSL")
        .option("kafka.sasl.mechanism", "PLAIN")
        .option("kafka.sasl.jaas.config", login)
        .option("kafka.request.timeout.ms", "60000")
        .option("kafka.session.timeout.ms", "30000")
        .option("subscribe", hub)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", "50000")
        # Events that retention took before they were read are gone: that is to stop the stream, and be seen.
        .option("failOnDataLoss", "true")
        .load()
    )
    return read.selectExpr("CAST(value AS STRING) AS body", "timestamp AS enqueued", "offset AS sequence")


def merge(batch: DataFrame, _: int) -> None:
    """Merge a batch of readings. One that is merged a second time changes nothing."""
    batch.createOrReplaceTempView("batch")
    batch.sparkSession.sql((HERE / "merge.sql").read_text("utf-8"))


def main(namespace: str, hub: str, checkpoint: str) -> None:
    spark = SparkSession.builder.appName("readings").getOrCreate()
    # Whatever the cluster's zone, a time is told apart by its UTC.
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.sql((HERE / "table.sql").read_text("utf-8"))
    connection_string = os.environ["EVENT_HUB_CONNECTION_STRING"]
    events_of(spark, namespace, hub, connection_string).createOrReplaceTempView("events")
    readings = spark.sql((HERE / "unfold.sql").read_text("utf-8"))
    stream = (
        readings.writeStream.foreachBatch(merge)
        .option("checkpointLocation", checkpoint)
        .trigger(processingTime="1 minute")
        .start()
    )
    stream.awaitTermination()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit("usage: spark-submit stream.py NAMESPACE HUB CHECKPOINT")
    main(*sys.argv[1:])
