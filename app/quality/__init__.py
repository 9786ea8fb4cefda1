"""What the data tells of itself: drift, lateness, digests of hours. Pure."""
