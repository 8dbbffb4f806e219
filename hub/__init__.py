"""Accord: an inter-agency secure information-exchange hub."""

__version__ = "0.1.0"
