"""Local stand-ins for Microshare and Azure Event Hubs. Never deployed; they import nothing from `app`."""
