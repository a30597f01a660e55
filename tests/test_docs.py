"""What the README says is what the code has."""

from __future__ import annotations

import re

import pytest

from docs_tables import ROOT, TABLES, field_table, region


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_as_the_code_has_it(name: str) -> None:
    document, make = TABLES[name]
    found = region(name).search(document.read_text(encoding="utf-8"))
    assert found, f"{document} has no table {name}"
    assert found[2] == make() + "\n", "refresh it: python tests/docs_tables.py"


def test_every_file_the_documents_link_to_is_there() -> None:
    for document in ROOT.glob("**/*.md"):
        if ".venv" in document.parts:
            continue
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document}: {target}"


def test_every_table_field_has_a_meaning() -> None:
    for line in field_table().splitlines()[2:]:
        assert line.rsplit(" | ", 1)[1].strip(" |"), line
