-- A reading that is new is added. One that is there is replaced by what the hub stored later, and by nothing else.
INSERT INTO readings (rec_type, location, tags, reading, message_id, time, entry, enqueued, sequence)
VALUES (%(rec_type)s, %(location)s, %(tags)s, %(reading)s, %(message_id)s, %(time)s, %(entry)s, %(enqueued)s, %(sequence)s)
ON CONFLICT (rec_type, location, tags, reading) DO UPDATE
SET message_id = excluded.message_id, time = excluded.time, entry = excluded.entry,
    enqueued = excluded.enqueued, sequence = excluded.sequence
WHERE (excluded.enqueued, excluded.sequence) > (readings.enqueued, readings.sequence)
