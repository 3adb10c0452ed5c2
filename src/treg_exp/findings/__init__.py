"""From run folders to findings: what was changed, by how much the results differ, and whether that is real."""
