"""``python -m moorage.gateway``: the same as ``moorage-gateway``."""

from moorage.gateway.main import main

main()
