"""Messages with and without a trace context are read by versions that know of it or do not."""

import msgspec

from eventdemo.codec import decode_messages, decode_singly, encode
from eventdemo.facts import PurchaseMessage, PurchaseRequested
from eventdemo.messages import Message

CONTEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ASKED = PurchaseRequested("r", "lamp", 1)
BEFORE = (
    b'["r/1","r","r",7,{"type":"PurchaseRequested","request_id":"r","product_id":"lamp",'
    b'"quantity":1}]'
)


class MessageBefore(msgspec.Struct, frozen=True, array_like=True):
    """As it was before there were contexts."""

    id: str
    correlation_id: str
    causation_id: str
    at_us: int
    data: PurchaseMessage


def test_a_message_that_was_stored_before_is_read() -> None:
    assert decode_singly(BEFORE, "name") == ([Message("r/1", "r", "r", 7, ASKED)], [])
    messages, undecodable = decode_messages(b"[%b,%b]" % (BEFORE, BEFORE), "name")
    assert (len(messages), undecodable) == (2, [])


def test_the_context_is_kept() -> None:
    message = Message("r/1", "r", "r", 7, ASKED, CONTEXT)
    assert decode_singly(encode(message), "name") == ([message], [])


def test_a_version_that_knows_of_none_reads_messages_that_have_one() -> None:
    stored = encode([Message("r/1", "r", "r", 7, ASKED, CONTEXT)])
    assert msgspec.json.decode(stored, type=list[MessageBefore])[0].data == ASKED


def test_without_a_context_a_message_is_three_bytes_longer() -> None:
    assert len(encode(Message("r/1", "r", "r", 7, ASKED))) == len(BEFORE) + len(',""')


def test_what_cannot_be_decoded_is_still_known_by_its_ids() -> None:
    for spoiled in (b'["r/1","r","r",7,{"type":"?"},"x"]', b'["r/1","r","r",7,{},42]'):
        _, (undecodable,) = decode_singly(spoiled, "name")
        assert (undecodable.id, undecodable.correlation_id) == ("r/1", "r")
        assert undecodable.body == spoiled
