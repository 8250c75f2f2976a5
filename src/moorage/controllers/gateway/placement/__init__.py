"""Where machines go: places looked up, vCenter as it is, zones, folders, applied plans."""
