"""One pass over a feed, and only its order."""
