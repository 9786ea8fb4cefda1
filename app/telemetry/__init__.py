"""Metrics and spans of a run, where they are wanted."""
