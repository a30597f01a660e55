"""ROOM 6: what happened, kept."""
