"""Runs work items through Lightning and stores what comes out."""
