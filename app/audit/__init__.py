"""The source against the hubs, reading by reading, and repair."""
