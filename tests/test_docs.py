"""What the README says is what the code has."""

from __future__ import annotations

import re

import pytest

from docs_tables import README, ROOT, TABLES, region


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_as_the_code_has_it(name: str) -> None:
    found = region(name).search(README.read_text(encoding="utf-8"))
    assert found, f"the README has no table {name}"
    assert found[2] == TABLES[name]() + "\n", "refresh it: python tests/docs_tables.py"


def test_every_file_the_documents_link_to_is_there() -> None:
    for document in ROOT.glob("**/README.md"):
        if ".venv" in document.parts:
            continue
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document}: {target}"


def test_every_table_field_has_a_meaning() -> None:
    for line in TABLES["fields"]().splitlines()[2:]:
        assert line.rsplit(" | ", 1)[1].strip(" |"), line
