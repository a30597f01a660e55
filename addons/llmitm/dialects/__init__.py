"""ROOM 2: wire protocols, sans-io: bytes <-> canon."""
