"""Linear forward operators, y = A x."""
