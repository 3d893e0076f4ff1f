"""Record batches: messages of one group that travel together as one SQS message."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from zlib import crc32

from eventdemo.codec import encode
from eventdemo.engines.aws.sqs.messaging import Entry
from eventdemo.messages import Message

#: A product's messages share a group, so they stay in order; cold products share groups, so that
#: they travel together. No more instances of a service than these have work at the same time.
GROUPS = 64

#: What SQS hands out comes and goes whole, so a batch of one service can't be much smaller.
MAX_MESSAGES_PER_RECORD_BATCH = 1_024

#: A hot product's messages are published one record batch after the other, so each is as large as
#: a call may be; SQS hands out ten of a group at once.
MAX_RECORD_BATCH_BYTES = 240_000

#: The only characters of UTF-8 JSON that SQS refuses. They occur in strings alone.
_NONCHARACTERS = re.compile("[\ufffe\uffff]")


def group_of(product_id: str) -> str:
    """The group that holds all of a product's messages."""
    return str(crc32(product_id.encode()) % GROUPS)


def json_text(value: object) -> str:
    """JSON in characters that SQS and SNS take."""
    text = encode(value).decode()
    return _NONCHARACTERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def entries_of(messages: Sequence[Message]) -> list[Entry]:
    """Messages as record batches, in their order within each group."""
    by_group: dict[str, list[str]] = defaultdict(list)
    for message in messages:
        by_group[group_of(message.data.product_id)].append(json_text(message))
    return [
        Entry(f"[{','.join(run)}]", group)
        for group, texts in by_group.items()
        for run in _runs(texts)
    ]


def _runs(texts: Iterable[str]) -> list[list[str]]:
    runs: list[list[str]] = []
    room = 0
    for text in texts:
        size = len(text.encode()) + 1
        if not runs or size > room or len(runs[-1]) == MAX_MESSAGES_PER_RECORD_BATCH:
            runs.append([])
            room = MAX_RECORD_BATCH_BYTES
        runs[-1].append(text)
        room -= size
    return runs
