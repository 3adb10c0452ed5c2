"""Forward operators and noise models: y = A(x) + n."""
