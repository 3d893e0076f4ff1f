"""The plan of a soak: faults in an order, at times and of kinds that a seed decides."""

import secrets
from enum import StrEnum
from random import Random

from msgspec import Struct


class FaultKind(StrEnum):
    """The menu."""

    KILL = "kill"
    PAUSE = "pause"
    DISK = "disk"
    LOCK = "lock"
    CLOCK = "clock"
    WIPE = "wipe"


#: Targets of each kind, the likelier the more often it stands there. What is killed or paused
#: is a role of the system, or whichever process holds a lock at that moment.
TARGETS = {
    FaultKind.KILL: (*3 * ("worker",), "deciders", *3 * ("api",), "projecting", "all"),
    FaultKind.PAUSE: ("worker", "deciders", "api", "writing flow", "writing flow", "writing queue"),
    FaultKind.DISK: ("disk",),
    FaultKind.LOCK: ("flow", "queue"),
    FaultKind.CLOCK: ("+2 s", "-2 s", "+40 s", "-40 s", "+1 h", "-1 h", "+2 days", "-2 days"),
    FaultKind.WIPE: ("session cache", "snapshots", "read models"),
}

#: Seconds that a fault lasts, from and to. A pause may be longer than the 2 s after which other
#: instances take over what stands still.
HOLD_S = {
    FaultKind.PAUSE: (0.2, 6.0),
    FaultKind.DISK: (1.0, 5.0),
    FaultKind.LOCK: (0.5, 6.0),
    FaultKind.CLOCK: (2.0, 5.0),
}

#: In the middle of so many of the faults that last, a process is killed as well.
SHARE_WITH_A_KILL = 0.5

#: One of every other kind for so many kills.
KILLS_PER_OTHER = 12

#: The first fault comes after this long, when there is something to compare with.
WARM_UP_S = 5.0


class Fault(Struct, frozen=True):
    """``kills`` is the role that is killed in the middle of it, if any."""

    at_s: float
    kind: FaultKind
    target: str
    hold_s: float = 0.0
    kills: str | None = None


def schedule(
    seed: int, kinds: tuple[FaultKind, ...], kills: int, others: int, minutes: float
) -> list[Fault]:
    """``kills`` kills and ``others`` of every other kind, over so many minutes."""
    random = Random(seed)
    chosen = [kind for kind in kinds for _ in range(kills if kind is FaultKind.KILL else others)]
    random.shuffle(chosen)
    between_s = max(0.0, minutes * 60 - WARM_UP_S) / max(1, len(chosen))
    remaining: dict[FaultKind, list[str]] = {kind: [] for kind in kinds}
    faults = []
    for number, kind in enumerate(chosen):
        if not remaining[kind]:  # all of them before one comes again
            remaining[kind] = random.sample(TARGETS[kind], len(TARGETS[kind]))
        hold_s = random.uniform(*HOLD_S[kind]) if kind in HOLD_S else 0.0
        kills_too = FaultKind.KILL in kinds and hold_s > 0 and random.random() < SHARE_WITH_A_KILL
        faults.append(
            Fault(
                at_s=WARM_UP_S + (number + random.uniform(0, 0.5)) * between_s,
                kind=kind,
                target=remaining[kind].pop(),
                hold_s=hold_s,
                kills=random.choice(TARGETS[FaultKind.KILL]) if kills_too else None,
            )
        )
    return faults


class SoakPlan(Struct, frozen=True):
    """The parameters of a soak: ``kills`` kills and a share of the other ``kinds`` in ``minutes``,
    while ``rate`` purchases per second come in."""

    minutes: float
    kills: int
    rate: float
    kinds: tuple[FaultKind, ...]
    seed: int

    @property
    def faults(self) -> list[Fault]:
        others = max(1, self.kills // KILLS_PER_OTHER)
        return schedule(self.seed, self.kinds, self.kills, others, self.minutes)

    @property
    def purchases(self) -> int:
        return int(self.rate * self.minutes * 60)


def new_seed() -> int:
    """Draws a seed."""
    return secrets.randbelow(1_000_000)
