"""Clusters and node pools: which machines there shall be, and what is around them."""
