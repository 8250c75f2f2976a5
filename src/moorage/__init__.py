"""Moorage: Kubernetes clusters on VMware vSphere."""

__version__ = "0.1.0"
