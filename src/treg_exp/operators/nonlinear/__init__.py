"""Non-linear forward operators, y = A(x)."""
