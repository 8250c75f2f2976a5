"""Alerts: what is wrong now, who is told, by which way. See ``watching.keep_watch``."""
