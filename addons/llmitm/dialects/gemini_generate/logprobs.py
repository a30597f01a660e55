"""`logprobsResult` and canon's list of tokens (`token`, `logprob`, `top_logprobs`), both ways.

Source: Gemini API reference, LogprobsResult; OpenAI API reference, chat logprobs, for the list.
"""

from __future__ import annotations

from llmitm.canon.values import Json

_TO_CANON = {"token": "token", "logProbability": "logprob", "tokenId": "tokenId"}
_TO_WIRE = {"token": "token", "logprob": "logProbability", "tokenId": "tokenId"}


def read_logprobs(raw: Json) -> list[Json] | None:
    """The tokens; None when the result says more (or something else) than the list can."""
    if not isinstance(raw, dict) or not raw.keys() <= {"chosenCandidates", "topCandidates"}:
        return None
    chosen, top = raw.get("chosenCandidates"), raw.get("topCandidates")
    if not isinstance(chosen, list) or not (
        top is None or (isinstance(top, list) and len(top) == len(chosen))
    ):
        return None
    tokens: list[Json] = []
    for place, item in enumerate(chosen):
        token = _renamed(item, _TO_CANON)
        if token is None:
            return None
        if top is not None:
            entry = top[place]
            several = entry.get("candidates") if isinstance(entry, dict) else None
            if not isinstance(several, list) or (isinstance(entry, dict) and len(entry) != 1):
                return None
            made = [_renamed(other, _TO_CANON) for other in several]
            if any(other is None for other in made):
                return None
            token["top_logprobs"] = [*made]
        tokens.append(token)
    return tokens


def write_logprobs(tokens: Json) -> dict[str, Json] | None:
    """`logprobsResult` of such a list; None for anything else."""
    if not isinstance(tokens, list):
        return None
    chosen: list[Json] = []
    top: list[Json] = []
    for item in tokens:
        if not isinstance(item, dict) or not isinstance(item.get("token"), str):
            return None
        chosen.append(_renamed(item, _TO_WIRE, strict=False))
        several = item.get("top_logprobs")
        if isinstance(several, list):
            made: list[Json] = [_renamed(other, _TO_WIRE, strict=False) for other in several]
            top.append({"candidates": made})
    result: dict[str, Json] = {"chosenCandidates": chosen}
    if top:
        result["topCandidates"] = top
    return result


def _renamed(item: Json, names: dict[str, str], *, strict: bool = True) -> dict[str, Json] | None:
    if not isinstance(item, dict) or (strict and not item.keys() <= names.keys()):
        return None
    return {names[key]: value for key, value in item.items() if key in names}
