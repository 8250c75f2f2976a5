"""The hub: REST API, server end of the link, controllers that turn resources into resources."""
