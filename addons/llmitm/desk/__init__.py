"""ROOM 7: what an operator sees."""
