"""An operator in the loop: the desk that holds exchanges, and the ways to it."""
