-- A reading that is new is added. One that is there is replaced by what the hub stored later, and by nothing else.
MERGE INTO readings AS kept
USING (
    SELECT rec_type, location, tags, reading, message_id, time, entry, enqueued, sequence
    FROM (
        SELECT *, row_number() OVER (PARTITION BY rec_type, location, tags, reading ORDER BY enqueued DESC, sequence DESC) AS version
        FROM batch
    )
    WHERE version = 1
) AS new
ON kept.rec_type = new.rec_type AND kept.location = new.location AND kept.tags = new.tags AND kept.reading = new.reading
WHEN MATCHED AND (new.enqueued > kept.enqueued OR (new.enqueued = kept.enqueued AND new.sequence > kept.sequence)) THEN UPDATE SET *
WHEN NOT MATCHED THEN INSERT *
