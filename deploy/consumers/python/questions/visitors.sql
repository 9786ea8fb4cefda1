-- Visitors by building and hour, in the building's own time: the last day that has any.
SELECT location, local_hour(time, zone) AS hour, sum(came) AS visitors
FROM people
WHERE time >= (SELECT strftime('%Y-%m-%dT%H:00:00.000Z', max(time), '-23 hours') FROM people)
GROUP BY location, hour
ORDER BY location, hour
