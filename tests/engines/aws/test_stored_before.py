"""What the version before has stored on AWS is read as it was meant."""

from eventdemo.engines.aws.dynamodb import event_outbox
from eventdemo.engines.aws.dynamodb.encoding import pack
from eventdemo.engines.aws.dynamodb.table import Key


def test_an_entry_of_the_outbox_that_follows_no_other_named_none() -> None:
    attributes = {"events": pack([b"[]"]), "count": 1, "size": 2}
    entry = event_outbox.entry_of(Key("outbox-3", "abc"), attributes)
    assert entry.name == "3-abc"
    assert entry.after == ()
