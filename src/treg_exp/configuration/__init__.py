"""From a composed configuration to checked objects, and what is said where it cannot be."""
