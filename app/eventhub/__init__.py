"""Delivery: one lane a hub, and the only code that speaks to the Event Hubs SDK."""
