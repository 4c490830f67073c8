"""The tests. While they run, shapes and types in the package's signatures are checked (see pyproject.toml)."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Beartype, but an int passes where a float is meant, as Python's typing rules say (PEP 484)."""
