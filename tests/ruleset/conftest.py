"""Folders of rules, written for one test each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

type WriteRules = Callable[..., Path]


@pytest.fixture
def write_rules(tmp_path: Path) -> WriteRules:
    """`write_rules("mine", providers="…")` writes mine/providers.yaml and gives the folder."""

    def write(folder: str, **texts: str | bytes) -> Path:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        for name, text in texts.items():
            data = text if isinstance(text, bytes) else text.encode()
            (place / f"{name}.yaml").write_bytes(data)
        return place

    return write
