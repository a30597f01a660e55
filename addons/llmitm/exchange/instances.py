"""Which instance can be asked now: rests after rate limits, keys set aside, breakers, turns.

An instance is a provider, a place and a key. All tables are bounded; the clock is an argument.
Never: decides who is asked next (`attempts` does), keeps a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmitm.canon.values import value
from llmitm.ruleset.routes import FailoverRow

_MOST = 10_000
_AWAKE = (0.0, False)


@value
class Instance:
    """number: of its key, 0 = the client's own credential, which `scope` then tells apart;
    base_url: empty = the provider's own place."""

    provider: str
    number: int = 0
    base_url: str = ""
    scope: bytes = b""

    @property
    def label(self) -> str:
        """`openai.2`, or `openai` with the client's own credential or with no key at all."""
        return f"{self.provider}.{self.number}" if self.number else self.provider


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    successes: int = 0
    open_until_s: float = 0.0
    trials: int = 0


class Instances:
    """What is known of all instances. Times are seconds of one monotonic clock."""

    def __init__(self, failover: FailoverRow) -> None:
        self.failover = failover
        self._rests: dict[tuple[Instance, str], tuple[float, bool]] = {}
        self._circuits: dict[Instance, _Circuit] = {}
        self._turns: dict[str, int] = {}

    def rest(self, instance: Instance, model: str, until_s: float, *, told: bool = True) -> None:
        """It is not asked for this model before then. model: empty = for none at all;
        told: its provider said so, False = it is a guess."""
        _make_room(self._rests)
        place = (instance, model)
        before = self._rests.pop(place, (0.0, False))
        self._rests[place] = max((until_s, told), before)

    def ready_in_s(self, instance: Instance, model: str, now_s: float) -> float:
        """Seconds until it may be asked for this model; 0 = now."""
        return max(self._rest(instance, model)[0] - now_s, 0.0)

    def guessed(self, instance: Instance, model: str) -> bool:
        """Whether nobody has said how long it rests."""
        return not self._rest(instance, model)[1]

    def _rest(self, instance: Instance, model: str) -> tuple[float, bool]:
        if not self._rests:
            return _AWAKE
        here, everywhere = (self._rests.get((instance, name), _AWAKE) for name in (model, ""))
        return max(here, everywhere)

    def admits(self, instance: Instance, now_s: float) -> bool:
        """Whether its circuit lets a call through: closed, or open long enough for a trial."""
        circuit = self._circuits.get(instance)
        if circuit is None or not circuit.open_until_s or not self.failover.breaker.enabled:
            return True
        room = circuit.trials < self.failover.breaker.half_open_max_inflight
        return now_s >= circuit.open_until_s and room

    def began(self, instance: Instance, now_s: float) -> bool:
        """A call goes out to it; whether it is a trial of an open circuit."""
        circuit = self._circuits.get(instance)
        if circuit is None or not circuit.open_until_s or now_s < circuit.open_until_s:
            return False
        circuit.trials += 1
        return True

    def ended(
        self,
        instance: Instance,
        outcome: Literal["good", "bad", "unknown"],
        now_s: float,
        *,
        trial: bool = False,
    ) -> None:
        """A call that began is over. unknown: it tells nothing (a 429, a client that left);
        trial: as `began` said."""
        circuit = self._circuits.get(instance)
        if circuit is None:
            if outcome != "bad":
                return
            _make_room(self._circuits)
            circuit = self._circuits[instance] = _Circuit()
        if trial:
            circuit.trials = max(circuit.trials - 1, 0)
        elif circuit.open_until_s and outcome == "good":
            # It began before the circuit opened, and tells nothing of what came since.
            return
        breaker = self.failover.breaker
        match outcome:
            case "bad":
                circuit.failures += 1
                circuit.successes = 0
                if circuit.open_until_s or circuit.failures >= breaker.failure_threshold:
                    circuit.open_until_s = now_s + breaker.open_cooldown_s
            case "good":
                circuit.successes += 1
                half_open = bool(circuit.open_until_s)
                if not half_open or circuit.successes >= breaker.half_open_success_threshold:
                    del self._circuits[instance]
            case "unknown":
                pass

    def turn(self, name: str) -> int:
        """0, 1, 2, …: whose turn it is among the keys of a provider or the providers of a model."""
        _make_room(self._turns)
        turn = self._turns.pop(name, -1) + 1
        self._turns[name] = turn
        return turn

    def rows(self, now_s: float) -> list[tuple[str, str, float]]:
        """(instance, `resting <model>` or `open`, seconds left) of all that cannot be asked now."""
        resting = [
            (instance.label, f"resting {model}".rstrip(), until_s - now_s)
            for (instance, model), (until_s, _) in self._rests.items()
            if until_s > now_s
        ]
        broken = [
            (instance.label, "open", circuit.open_until_s - now_s)
            for instance, circuit in self._circuits.items()
            if circuit.open_until_s > now_s
        ]
        return resting + broken


def _make_room[K, V](table: dict[K, V]) -> None:
    """The longest untouched entry goes when the table is full."""
    if len(table) >= _MOST:
        del table[next(iter(table))]
