"""Tasks: what is measured or edited, posed as a problem for a solver."""
