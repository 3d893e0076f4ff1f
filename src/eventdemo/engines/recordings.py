"""Recordings: checked before they are appended, and the error for events that cannot be read."""

from collections.abc import Sequence

from eventdemo.codec import product_named
from eventdemo.errors import Conflict, HistoryUnreadable
from eventdemo.messages import Recording, UnreadableEvent

#: The reason of an event that cannot be read has at most so many characters.
MAX_REASON_CHARS = 300


def expected_versions(recordings: Sequence[Recording]) -> dict[str, int]:
    """Returns the version that each stream must be at before these recordings are appended.

    Raises ``Conflict`` if a stream's writes do not follow each other, or if a cause comes twice.
    """
    causes: set[str] = set()
    expected: dict[str, int] = {}
    reached: dict[str, int] = {}
    for recording in recordings:
        if recording.causation_id in causes:
            raise Conflict(f"{recording.causation_id} would be recorded twice")
        causes.add(recording.causation_id)
        for write in recording.writes:
            stream, version = write.stream, write.expected_version
            if reached.setdefault(stream, version) != version:
                raise Conflict(f"{stream} would not be at the expected version")
            expected.setdefault(stream, version)
            reached[stream] = version + 1
    return expected


def unreadable(event: str, reason: object) -> HistoryUnreadable:
    """Returns the error that says which event cannot be read, why, and what to do."""
    return HistoryUnreadable(
        f"event {event} is damaged, or was written by a later eventdemo ({reason}): restore it "
        "from a backup, or upgrade eventdemo"
    )


def unreadable_event(
    position: int,
    stream: str,
    version: int,
    causation_id: str,
    ordinal: int,
    at_us: int,
    body: bytes,
    error: Exception,
) -> UnreadableEvent:
    """Returns what is known of an event whose body cannot be read."""
    reason = " ".join(str(error).split())[:MAX_REASON_CHARS] or type(error).__name__
    product_id = product_named(stream, body)
    return UnreadableEvent(
        position, stream, version, causation_id, ordinal, at_us, product_id, reason
    )
