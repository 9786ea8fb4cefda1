-- A reading that is new is added. One that is there is replaced by what the hub stored later: a correction by another
-- content, a repeat by the same. What is read once more (the consumer began before its last event) changes nothing.
INSERT INTO readings (rec_type, location, tags, reading, time, entry, id, enqueued, sequence)
VALUES (:rec_type, :location, :tags, :reading, :time, :entry, :id, :enqueued, :sequence)
ON CONFLICT (rec_type, location, tags, reading) DO UPDATE
SET time = excluded.time, entry = excluded.entry, id = excluded.id,
    enqueued = excluded.enqueued, sequence = excluded.sequence
WHERE (excluded.enqueued, excluded.sequence) > (readings.enqueued, readings.sequence)
