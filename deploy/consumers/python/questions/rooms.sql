-- Rooms in the newest hour that each building has, the fullest first.
SELECT location, tags, time, average
FROM rooms
WHERE metric = 'occupancy'
  AND time = (SELECT max(time) FROM rooms AS same WHERE same.location = rooms.location)
ORDER BY average DESC, location, tags
