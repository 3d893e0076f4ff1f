"""How events are written into items, and read back.

Short texts stay as they are, for people to read; longer ones are compressed, because a write is
paid for by the kilobyte and the events of one transaction are much alike.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from eventdemo.codec import UNDECODABLE, encode
from eventdemo.codec.upcasters import StoredEvent, schema_version, upcast
from eventdemo.engines.aws.dynamodb.table import Attributes, Value
from eventdemo.engines.recordings import unreadable, unreadable_event
from eventdemo.messages import PoolEvent, RecordedEvent, Recording

#: A text up to this many bytes shares its item's first kilobyte with the keys.
_PLAIN_BYTES = 800


class LogRow(Struct, array_like=True, frozen=True, gc=False):
    """An event as the outbox, the log and causes hold it."""

    stream: str
    version: int
    causation_id: str
    ordinal: int
    correlation_id: str
    at_us: int
    data: StoredEvent


class _LogRowPlace(Struct, array_like=True, frozen=True, gc=False):
    """The place of an event whose content may be anything."""

    stream: str
    version: int
    causation_id: str
    ordinal: int
    correlation_id: str
    at_us: int
    data: Raw


class ChunkRow(Struct, array_like=True, frozen=True, gc=False):
    """An event as its stream holds it, and where the recording's events in other streams are."""

    causation_id: str
    ordinal: int
    correlation_id: str
    at_us: int
    data: StoredEvent
    sibling_events: tuple[tuple[str, int], ...] = ()


class EncodedRecording(NamedTuple):
    """A recording's events: as rows, and by stream as chunk rows from a version on."""

    causation_id: str
    rows: list[bytes]
    by_stream: dict[str, list[bytes]]
    expected: dict[str, int]

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.rows))


class StreamChunk(NamedTuple):
    """The events that one transaction appended to a stream, and its entry in the outbox."""

    events: list[RecordedEvent]
    sibling_events: list[tuple[str, int]]
    first: int
    last: int
    entry: str


_rows = msgspec.json.Decoder(list[LogRow])
_row = msgspec.json.Decoder(LogRow)
_row_place = msgspec.json.Decoder(_LogRowPlace)
_chunk_rows = msgspec.json.Decoder(list[ChunkRow])
_raw_rows = msgspec.json.Decoder(list[Raw])


def encoded(recording: Recording) -> EncodedRecording:
    """A recording as it will be stored."""
    caused, correlated = recording.causation_id, recording.correlation_id
    places = [(write.stream, write.expected_version + 1) for write in recording.writes]
    result = EncodedRecording(caused, [], {}, {})
    for ordinal, (stream, version) in enumerate(places):
        event = Raw(encode(recording.writes[ordinal].event))
        common = (caused, ordinal, correlated, recording.at_us, event)
        sibling_events = [place for place in places if place[0] != stream]
        result.rows.append(encode((stream, version, *common)))
        chunk_row = encode((*common, sibling_events) if sibling_events else common)
        result.by_stream.setdefault(stream, []).append(chunk_row)
        result.expected.setdefault(stream, version - 1)
    return result


def pack(rows: Sequence[bytes]) -> Value:
    """Rows of events as one attribute."""
    body = b"[" + b",".join(rows) + b"]"
    return body.decode() if len(body) <= _PLAIN_BYTES else zlib.compress(body, 6)


def concatenated(packed: Sequence[Value]) -> Value:
    """The rows of several attributes as one."""
    return pack([unpack(value)[1:-1] for value in packed])


def unpack(value: Value, name: str = "without a position") -> bytes:
    """An attribute's rows as JSON. Raises ``HistoryUnreadable``."""
    try:
        return zlib.decompress(value) if isinstance(value, bytes) else str(value).encode()
    except zlib.error as error:
        raise unreadable(name, error) from error


def events_of(attributes: Attributes, name: str) -> list[RecordedEvent]:
    """The events of an item, without positions. Raises ``HistoryUnreadable``."""
    rows = _decoded(attributes, name, _rows.decode)
    return [_event(0, row.stream, row.version, row) for row in rows]


def log_events_of(attributes: Attributes, name: str, first_position: int) -> list[PoolEvent]:
    """The events of an item of the log, also those that cannot be read.

    Raises ``HistoryUnreadable`` if not even their streams can.
    """
    body = unpack(attributes["events"], name)
    try:
        rows = _rows.decode(body)
        return [
            _event(position, row.stream, row.version, row)
            for position, row in enumerate(rows, first_position)
        ]
    except Exception as error:  # noqa: BLE001 - whatever a history can do to its reader
        try:
            raw_rows = _raw_rows.decode(body)
            return [_recorded_or_unreadable(*row) for row in enumerate(raw_rows, first_position)]
        except UNDECODABLE:
            raise unreadable(name, error) from error


def _recorded_or_unreadable(position: int, raw: Raw) -> PoolEvent:
    try:
        row = _row.decode(raw)
        return _event(position, row.stream, row.version, row)
    except Exception as error:  # noqa: BLE001 - whatever a history can do to its reader
        place = _row_place.decode(raw)
        return unreadable_event(
            position,
            place.stream,
            place.version,
            place.causation_id,
            place.ordinal,
            place.at_us,
            bytes(place.data),
            error,
        )


def chunk_of(stream: str, first: int, attributes: Attributes) -> StreamChunk:
    """A part of a stream. Raises ``HistoryUnreadable``."""
    name = f"{stream}, version {first}"
    rows = _decoded(attributes, name, _chunk_rows.decode)
    events = [_event(0, stream, first + index, row) for index, row in enumerate(rows)]
    sibling_events = [place for row in rows for place in row.sibling_events]
    last = int(attributes["last"])
    if len(events) != last - first + 1:
        raise unreadable(name, f"{len(events)} events up to version {last}")
    return StreamChunk(events, sibling_events, first, last, str(attributes["entry"]))


def _event(position: int, stream: str, version: int, row: LogRow | ChunkRow) -> RecordedEvent:
    return RecordedEvent(
        position,
        stream,
        version,
        row.causation_id,
        row.ordinal,
        row.correlation_id,
        row.at_us,
        schema_version(row.data),
        upcast(row.data),
    )


def _decoded(attributes: Attributes, name: str, decode: Callable[[bytes], list[Any]]) -> list[Any]:
    body = unpack(attributes["events"], name)
    try:
        return decode(body)
    except UNDECODABLE as error:
        raise unreadable(_first_bad(body, decode) or name, error) from error


def _first_bad(body: bytes, decode: Callable[[bytes], list[Any]]) -> str:
    """Returns the beginning of the first row that cannot be read, if there is one."""
    try:
        rows = _raw_rows.decode(body)
    except UNDECODABLE:
        return ""
    for row in rows:
        try:
            decode(b"[" + bytes(row) + b"]")
        except UNDECODABLE:
            return bytes(row)[:120].decode(errors="replace")
    return ""
