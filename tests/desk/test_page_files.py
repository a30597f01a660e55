"""The files of the review page: small, nothing inline or from elsewhere, no markup from data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmitm import desk

PAGE = Path(desk.__file__).parent / "page"
FILES = sorted(PAGE.iterdir())
SCRIPTS = [file for file in FILES if file.suffix == ".js"]
DOCUMENTS = [file for file in FILES if file.suffix == ".html"]

MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser"
    r"|srcdoc|\beval\b|new Function|javascript:|setTimeout\(\s*[\"'`]|setHTML"
)
"""What could make markup or code of a text."""
ELSEWHERE = re.compile(r"(?:https?:)?//[\w.-]+\.\w+")
IMPORT = re.compile(r"^import .* from \"(.+)\";$", re.M)


def test_the_page_is_there() -> None:
    assert {"index.html", "login.html", "review.css", "main.js"} <= {file.name for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_is_small_and_asks_nobody_else(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) < 400
    assert not ELSEWHERE.findall(text.replace("http://www.w3.org/2000/svg", ""))


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_a_script_makes_no_markup_of_a_text(file: Path) -> None:
    text = file.read_text()
    assert not MARKUP.findall(text)
    for wanted in IMPORT.findall(text):
        assert (PAGE / wanted).is_file(), wanted
        assert wanted.startswith("./")


def test_every_script_is_used() -> None:
    wanted = {"main.js", "login.js"}
    for file in SCRIPTS:
        wanted |= {name.removeprefix("./") for name in IMPORT.findall(file.read_text())}
    assert wanted == {file.name for file in SCRIPTS}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_nothing_is_inline(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<base|<iframe", text)
    assert all(
        re.search(r"src=\"[\w.]+\"></script>", tag) for tag in re.findall(r"<script.*", text)
    )
    for name in re.findall(r"(?:src|href)=\"([\w./-]+)\"", text):
        assert (PAGE / name).is_file(), name


def test_every_element_that_the_scripts_ask_for_is_in_a_document() -> None:
    ids = {
        found for file in DOCUMENTS for found in re.findall(r"\sid=\"([\w-]+)\"", file.read_text())
    }
    made = {
        found for file in SCRIPTS for found in re.findall(r"\bid: \"([\w-]+)\"", file.read_text())
    }
    for file in SCRIPTS:
        asked = set(re.findall(r"byId\(\"([\w-]+)\"\)", file.read_text()))
        assert asked <= ids | made, file.name
