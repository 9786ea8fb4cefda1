"""Forwards Microshare building readings to Azure Event Hubs."""
