"""Templates and their replicas: found, imported, copied, collected."""
