"""ROOM 5: one request/response pair from open to close."""
