-- The readings of events: a row each. Of what no forwarder sent there is none.
WITH read AS (
    SELECT body, enqueued, sequence,
           from_json(body, 'recType STRING, _location_tags STRING, _forwarder STRUCT<id: STRING, location: STRING>, objs ARRAY<STRUCT<data: STRUCT<_id: STRUCT<tags: STRING>, line: ARRAY<STRING>>>>') AS said
    FROM events
),
unfolded AS (
    SELECT said, enqueued, sequence,
           explode(
               CASE WHEN said._location_tags IS NOT NULL
                    THEN array(named_struct('tags', said._location_tags, 'entry', body))
                    ELSE flatten(transform(said.objs, obj -> transform(obj.data.line, line -> named_struct('tags', obj.data._id.tags, 'entry', line))))
               END
           ) AS one
    FROM read
    WHERE said._forwarder.id IS NOT NULL
),
written AS (
    -- A time is ISO text or milliseconds since 1970, perhaps below "$date".
    SELECT *, coalesce(get_json_object(one.entry, '$.time[\'$date\']'), get_json_object(one.entry, '$.time')) AS time_text
    FROM unfolded
),
timed AS (
    SELECT *,
           CASE WHEN time_text RLIKE '^-?[0-9]+$' THEN timestamp_millis(CAST(time_text AS BIGINT))
                ELSE try_to_timestamp(time_text) END AS time
    FROM written
)
SELECT said.recType AS rec_type, said._forwarder.location AS location, one.tags AS tags,
       -- The first half of an id is the same in all versions of a reading; readings of a snapshot have none of their own here.
       CASE WHEN said._location_tags IS NOT NULL THEN substring(said._forwarder.id, 1, 8)
            ELSE concat_ws('|', coalesce(CAST(time AS STRING), time_text, ''), coalesce(get_json_object(one.entry, '$.category'), ''), coalesce(get_json_object(one.entry, '$.metric'), ''))
       END AS reading,
       said._forwarder.id AS message_id, time, one.entry AS entry, enqueued, sequence
FROM timed
