"""Commands in the chat: found, run, answered, and kept from every provider."""
