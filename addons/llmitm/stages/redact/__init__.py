"""Secrets that do not leave, and that come back in the answer."""
