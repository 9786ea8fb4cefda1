"""Feeds: what to ask of a view, and the way from an answer to readings and events. Pure.

A feed is one module here that defines `FEED`, one timer function, and one entry
under `feeds` in config.yaml, whose key is the module's name.
"""
