"""Training anything with Lightning: one module, one budget, and what Lightning's own callbacks lack."""
