"""Benchmarks: the product as users run it, on the lab. ``python -m bench --help``."""
