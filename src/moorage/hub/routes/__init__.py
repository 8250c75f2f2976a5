"""One module for each group of routes; ``hub.app`` puts them together."""
