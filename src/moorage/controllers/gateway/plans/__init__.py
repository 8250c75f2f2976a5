"""Plans and checks: what would be done, and whether it could be."""
