"""ROOM 8: a scripted provider on loopback, for the demo, the tests, the bench and replay."""
