"""What the README says is what the code has."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from docs_tables import GUIDE, GUIDE_TABLES, README, ROOT, TABLES, region


@pytest.mark.parametrize(
    ("document", "name", "make"),
    [
        *((README, name, make) for name, make in TABLES.items()),
        *((GUIDE, name, make) for name, make in GUIDE_TABLES.items()),
    ],
)
def test_a_table_is_as_the_code_has_it(document: Path, name: str, make: Callable[[], str]) -> None:
    found = region(name).search(document.read_text(encoding="utf-8"))
    assert found, f"{document} has no table {name}"
    assert found[2] == make() + "\n", "refresh it: python tests/docs_tables.py"


def test_every_file_the_documents_link_to_is_there() -> None:
    for document in ROOT.glob("**/README.md"):
        if ".venv" in document.parts:
            continue
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document}: {target}"


def test_every_table_field_has_a_meaning() -> None:
    for line in TABLES["fields"]().splitlines()[2:]:
        assert line.rsplit(" | ", 1)[1].strip(" |"), line
