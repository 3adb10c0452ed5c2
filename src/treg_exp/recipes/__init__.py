"""How the shipped assets were made."""
