"""Standing approvals: everything of one sort goes on for a while without being asked about."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from llmitm.desk.cards import Card
from llmitm.desk.review_error import ReviewError
from llmitm.desk.told import Approval


@dataclass(slots=True)
class _Standing:
    verdicts: frozenset[str]
    by: str
    since: float
    until: float
    used: int = 0


class Standing:
    """The approvals that stand, by the sort of their cards; at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_sort: dict[tuple[str, ...], _Standing] = {}

    def grant(self, card: Card, by: str, now: float, until: float) -> None:
        """From now on the card's sort goes on, with no other verdicts than the card's own.

        An approval of the sort that stands already is replaced: the last word counts.
        """
        self._by_sort[card.sort] = _Standing(frozenset(card.verdicts), by, now, until)

    def check_room(self, card: Card, now: float) -> None:
        """Raises ReviewError `not_allowed` when too many stand to grant the card's sort."""
        self._forget(now)
        if card.sort not in self._by_sort and len(self._by_sort) >= self._most:
            raise ReviewError("not_allowed", f"{self._most} approvals stand already: revoke one")

    def covers(self, card: Card, now: float) -> str | None:
        """Who has approved of its sort, None = nobody."""
        found = self._by_sort.get(card.sort)
        if found is None or found.until <= now or not card.may_approve:
            return None
        # Who approved of a sort has not seen what was found in this one.
        return found.by if found.verdicts.issuperset(card.verdicts) else None

    def use(self, card: Card) -> None:
        """Counts one that went on by it."""
        standing = self._by_sort.get(card.sort)
        if standing is not None:
            standing.used += 1

    def rows(self, now: float) -> list[Approval]:
        """What stands, the oldest first."""
        self._forget(now)
        return [
            Approval(
                id=_id(sort),
                sort=sort,
                verdicts=tuple(sorted(each.verdicts)),
                by=each.by,
                since=each.since,
                until=each.until,
                used=each.used,
            )
            for sort, each in self._by_sort.items()
        ]

    def revoke(self, approval: str, now: float) -> Approval:
        """Takes it back. Raises ReviewError `not_found`."""
        for row in self.rows(now):
            if row.id == approval:
                del self._by_sort[row.sort]
                return row
        raise ReviewError("not_found", "no such approval stands")

    def clear(self) -> None:
        """Takes all of them back."""
        self._by_sort.clear()

    def _forget(self, now: float) -> None:
        for sort in [sort for sort, each in self._by_sort.items() if each.until <= now]:
            del self._by_sort[sort]


def _id(sort: tuple[str, ...]) -> str:
    return sha256("\0".join(sort).encode("utf-8", "surrogatepass")).hexdigest()[:16]
