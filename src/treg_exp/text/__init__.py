"""What text does to a step: guidance and null-text rules."""
