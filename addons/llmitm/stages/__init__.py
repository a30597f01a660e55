"""ROOM 4: policies, one file each, independent of each other and of every dialect."""
