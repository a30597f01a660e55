"""ROOM 9: the only room that knows mitmproxy, sockets, clocks and tasks."""
