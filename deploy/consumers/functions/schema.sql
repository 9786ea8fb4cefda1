-- What is kept of a hub's events. PostgreSQL 12 or newer.
CREATE TABLE IF NOT EXISTS readings (
    rec_type   text NOT NULL,
    location   text NOT NULL,
    tags       text NOT NULL,         -- JSON: the place in the building
    reading    text NOT NULL,         -- what tells it from others of its place
    message_id text NOT NULL,
    time       timestamptz NOT NULL,
    entry      jsonb NOT NULL,        -- all that the source wrote
    enqueued   timestamptz NOT NULL,  -- when the hub stored it
    sequence   bigint NOT NULL,
    PRIMARY KEY (rec_type, location, tags, reading)
);

CREATE INDEX IF NOT EXISTS readings_by_time ON readings (rec_type, time);

-- Events of which no reading could be read: kept as they are, so that nothing stops for them.
CREATE TABLE IF NOT EXISTS unread (
    enqueued timestamptz NOT NULL,
    sequence bigint NOT NULL,
    body     bytea NOT NULL,
    error    text NOT NULL
);
