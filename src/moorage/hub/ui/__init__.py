"""The web UI: pages over the REST API, loaded when somebody looks at the first one."""

from moorage.hub.ui.door import add_ui

__all__ = ["add_ui"]
