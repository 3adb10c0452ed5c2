"""Text-match rules, one per file."""
