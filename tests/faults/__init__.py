"""Processes that die at any moment, before a simulated vCenter with thin guests."""
