"""Layers to manifests. Pure: whoever applies them is the gateway or the agent."""

from moorage.packs.model import Pack, RenderedLayer
from moorage.packs.render import PACKS, render_layer

__all__ = ["PACKS", "Pack", "RenderedLayer", "render_layer"]
