"""ROOM 3: rules/*.yaml and the environment -> validated, compiled, frozen objects. No protocol,
no I/O but reading rule files."""
