"""The operator's side on the wire: page, REST, WebSocket, login."""
