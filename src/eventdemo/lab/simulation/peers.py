"""Simulated peers: they see each other, and notifications can be late or lost."""

import asyncio
from collections.abc import Iterable

from eventdemo.lab.simulation.determinism import SeededChance
from eventdemo.lab.simulation.process import Process


class PeerGroup:
    """All processes on one data folder."""

    def __init__(self, chance: SeededChance, lost_share: float) -> None:
        self._chance = chance
        self._lost_share = lost_share
        self._peers: list[SimulatedPeers] = []

    def admit(self, process: Process) -> "SimulatedPeers":
        peers = SimulatedPeers(self, process)
        self._peers.append(peers)
        return peers

    def living(self) -> "list[SimulatedPeers]":
        self._peers = [peer for peer in self._peers if peer.process.alive]
        return self._peers

    def deliver(self, sender: Process, channels: list[str]) -> None:
        """Notifies all others."""
        loop = asyncio.get_running_loop()
        for peer in self.living():
            name = f"nudge {sender.name} {peer.process.name}"
            if peer.process is not sender and not self._chance.happens(name, self._lost_share):
                loop.call_later(self._chance.delay_s(name), peer.hear, channels)


class SimulatedPeers:
    """The membership of one simulated process."""

    def __init__(self, group: PeerGroup, process: Process) -> None:
        self.process = process
        self.services: list[str] = []
        self._group = group
        self._channels: dict[str, list[asyncio.Event]] = {}

    def subscribe(self, channel: str) -> asyncio.Event:
        event = asyncio.Event()
        self._channels.setdefault(channel, []).append(event)
        return event

    def join(self, service: str) -> None:
        if service not in self.services:
            self.services.append(service)
        self.notify([f"members:{service}"])

    def leave(self) -> None:
        left = [f"members:{service}" for service in self.services]
        self.services = []
        self.notify(left)

    def rank(self, service: str) -> tuple[int, int]:
        names = sorted(
            peer.process.name
            for peer in self._group.living()
            if service in peer.services or peer is self
        )
        return names.index(self.process.name), len(names)

    def notify(self, channels: Iterable[str]) -> None:
        if not self.process.alive:
            return
        names = list(channels)
        self.hear(names)
        self._group.deliver(self.process, names)

    def hear(self, channels: Iterable[str]) -> None:
        for channel in channels:
            for event in self._channels.get(channel, ()):
                event.set()

    def close(self) -> None:
        self.leave()
