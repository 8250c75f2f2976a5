"""``python -m moorage.hub`` is ``moorage-hub``."""

from moorage.hub.main import main

main()
