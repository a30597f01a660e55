"""A told value as JSON text, whatever characters a client has sent."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json


def printed(value: BaseModel | dict[str, Any]) -> str:
    """JSON of one line. Half a surrogate pair, which UTF-8 cannot carry, stays an escape."""
    try:
        return to_json(value).decode()
    except PydanticSerializationError:
        return json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _plain(value.model_dump())
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
