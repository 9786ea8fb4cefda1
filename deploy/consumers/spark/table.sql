-- What is kept of a hub's events.
CREATE TABLE IF NOT EXISTS readings (
    rec_type STRING NOT NULL,
    location STRING NOT NULL,
    tags STRING NOT NULL COMMENT 'JSON: the place in the building',
    reading STRING NOT NULL COMMENT 'What tells it from others of its place',
    message_id STRING NOT NULL,
    time TIMESTAMP,
    entry STRING NOT NULL COMMENT 'JSON: what the source wrote; of a reading by itself with what the forwarder added',
    enqueued TIMESTAMP NOT NULL COMMENT 'When the hub stored it',
    sequence BIGINT NOT NULL
) USING DELTA
