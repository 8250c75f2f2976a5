"""Words without a domain: time, errors, identity, logging. Imports nothing of ours."""
