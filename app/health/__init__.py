"""How a feed fares."""
