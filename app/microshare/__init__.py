"""The Microshare API: login, discovery and dashboard queries. Nothing else here knows its HTTP."""
