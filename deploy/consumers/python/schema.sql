-- What is kept of a hub's events. SQLite 3.25 or newer, with JSON.

CREATE TABLE IF NOT EXISTS readings (
    rec_type  TEXT NOT NULL,
    location  TEXT NOT NULL,
    tags      TEXT NOT NULL,  -- JSON: the place in the building
    reading   TEXT NOT NULL,  -- JSON: what tells it from others of its place; unfold.sql makes it
    time      TEXT NOT NULL,  -- UTC, as 2026-03-02T12:14:00.000Z
    entry     TEXT NOT NULL,  -- JSON: all that the source wrote
    id        TEXT,           -- of this version; NULL for snapshots of hubs without `body: with_ids`
    enqueued  TEXT NOT NULL,  -- when the hub stored it, UTC
    sequence  INTEGER NOT NULL,
    PRIMARY KEY (rec_type, location, tags, reading)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS readings_by_time ON readings (rec_type, time);

-- How far each partition was read. Written in the transaction of the rows.
CREATE TABLE IF NOT EXISTS checkpoints (
    hub       TEXT NOT NULL,  -- namespace/hub/consumer group
    partition TEXT NOT NULL,
    offset    TEXT NOT NULL,
    sequence  INTEGER NOT NULL,
    PRIMARY KEY (hub, partition)
) WITHOUT ROWID;

-- Events of the forwarder without a reading that could be read: kept as they are, so that nothing stops for them.
CREATE TABLE IF NOT EXISTS unread (
    hub       TEXT NOT NULL,
    partition TEXT NOT NULL,
    sequence  INTEGER NOT NULL,
    body      BLOB NOT NULL,
    PRIMARY KEY (hub, partition, sequence)
) WITHOUT ROWID;

CREATE VIEW IF NOT EXISTS people AS
SELECT time, location, tags,
       json_extract(entry, '$.change.in') AS came,
       json_extract(entry, '$.change.out') AS went,
       json_extract(entry, '$.meta.timezone') AS zone
FROM readings WHERE rec_type = 'io.microshare.peoplecounter.unpacked.event.agg';

CREATE VIEW IF NOT EXISTS rooms AS
SELECT time, location, tags,
       json_extract(entry, '$.category') AS category,
       json_extract(entry, '$.metric') AS metric,
       json_extract(entry, '$.current.avg') AS average,
       json_extract(entry, '$.current.min') AS least,
       json_extract(entry, '$.current.max') AS most
FROM readings WHERE rec_type = 'io.microshare.lake.snapshot.hourly';
