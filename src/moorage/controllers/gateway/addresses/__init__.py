"""IP pools: how full they are, and who else uses their addresses."""
