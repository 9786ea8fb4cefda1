"""Local stand-ins for Microshare and Azure Event Hubs. Never deployed.

They import nothing from `app`, but for `history`, which makes real runs.
"""
