"""ROOM 1: the normalized model. Values only: no wire format, no I/O, no clock."""
