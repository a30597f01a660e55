"""Texts that are changed on their way: `Texts` in `stage`."""
