-- The readings of one event, whatever the form of its body: a row each.
-- :body, :message_id, and :cloudevent, which is 1 where the content type is application/cloudevents+json.
WITH plain (body) AS (
    SELECT CASE WHEN :cloudevent THEN json_extract(:body, '$.data') ELSE :body END
),
found (tags, entry, id, in_snapshot) AS (
    -- A snapshot: the lines of its objects, whose ids, if there are any, are in the same order.
    SELECT tags, entry, json_extract(:body, '$._forwarder.ids[' || number || ']'), 1
    FROM (
        SELECT json_extract(obj.value, '$.data._id.tags') AS tags,
               line.value AS entry,
               row_number() OVER (ORDER BY obj.key, line.key) - 1 AS number
        FROM plain, json_each(plain.body, '$.objs') AS obj, json_each(obj.value, '$.data.line') AS line
    )
    UNION ALL
    -- A reading by itself: its entry is the body without what the forwarder added.
    SELECT json_extract(body, '$._location_tags'),
           json_remove(body, '$.recType', '$._location_tags', '$._forwarder'),
           :message_id, 0
    FROM plain WHERE json_type(body, '$._location_tags') = 'array'
),
timed (tags, entry, id, in_snapshot, record, time) AS (
    -- utc() is in consumer.py: SQLite reads some ways to write a time, and sources know more.
    SELECT tags, entry, id, in_snapshot, json_extract(entry, '$.record'), utc(json_extract(entry, '$.time'))
    FROM found
)
-- Which reading of its place it is: its record says that, else its time, category and metric do.
SELECT tags,
       CASE WHEN NOT in_snapshot AND coalesce(record, '') NOT IN ('', 0, '[]', '{}') THEN json_array(record)
            ELSE json_array(time, json_extract(entry, '$.category'), json_extract(entry, '$.metric')) END AS reading,
       time, entry, id
FROM timed
