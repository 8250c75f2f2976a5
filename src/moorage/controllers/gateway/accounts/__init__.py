"""Cloud accounts: sessions, privileges, clocks."""
