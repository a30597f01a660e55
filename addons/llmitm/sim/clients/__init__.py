"""Unmodified SDK clients as small programs: the product never imports them.

Each is run as a file of its own, uses its SDK's defaults, takes credentials, proxy and CA only from
the environment, and ends with exactly one JSON line on standard output.
"""
