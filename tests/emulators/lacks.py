"""What each emulator lacks of what the adapters rely on, and what covers it instead.

Each entry names the test that fails on these emulators: one that passes after all fails as well,
so nothing here can be out of date. ``docs/aws-emulators.md`` is this table for readers.
"""

import pytest
from msgspec import Struct

MOTO, LOCALSTACK = "moto", "LocalStack"


class Lack(Struct, frozen=True):
    """``aws`` is what AWS does and these emulators do not."""

    test: str
    aws: str
    emulators: tuple[str, ...]
    covered_by: str


MODEL = "the simulator's model of SQS and SNS"
TABLE_MODEL = "the simulator's model of DynamoDB"

LACKS = (
    Lack(
        "test_a_fifo_message_whose_time_ran_out_is_not_deleted",
        "A FIFO message whose visibility timeout ran out is not deleted by its handle.",
        (MOTO,),
        f"LocalStack; {MODEL}",
    ),
    Lack(
        "test_a_fifo_message_whose_time_ran_out_cannot_be_extended",
        "A message whose visibility timeout ran out cannot be extended by its handle.",
        (LOCALSTACK, MOTO),
        MODEL,
    ),
    Lack(
        "test_a_fifo_message_handed_out_again_is_not_deleted_by_who_had_it_first",
        "A message that was handed out again is not deleted by an earlier handle.",
        (LOCALSTACK, MOTO),
        MODEL,
    ),
    Lack(
        "test_a_fifo_message_handed_out_again_is_not_given_back_by_who_had_it_first",
        "A message that was handed out again is not given back by an earlier handle.",
        (LOCALSTACK, MOTO),
        MODEL,
    ),
    Lack(
        "test_a_deduplication_id_is_remembered_when_its_message_is_gone",
        "A deduplication id is remembered for five minutes, also when its message is deleted.",
        (MOTO,),
        "LocalStack",
    ),
    Lack(
        "test_sequence_numbers_rise",
        "Sequence numbers of a FIFO queue rise.",
        (MOTO,),
        "LocalStack; nothing here relies on it",
    ),
    Lack(
        "test_a_batch_of_more_than_256_kib_is_refused",
        "More than 256 KiB in one call are refused.",
        (MOTO,),
        f"LocalStack; {MODEL}",
    ),
    Lack(
        "test_what_xml_cannot_hold_is_refused",
        "A message with characters that XML cannot hold is refused.",
        (MOTO,),
        f"LocalStack; {MODEL}",
    ),
    Lack(
        "test_a_queue_takes_from_a_topic_only_what_its_policy_allows",
        "A queue takes from a topic only what its policy allows.",
        (LOCALSTACK, MOTO),
        "the tests of the template; `make test-aws` on an account",
    ),
    Lack(
        "test_a_call_without_permission_is_refused",
        "A call that IAM does not allow is refused.",
        (LOCALSTACK, MOTO),
        "the tests of the template and of the errors' texts",
    ),
    Lack(
        "test_a_transaction_over_4_mb_is_refused",
        "A transaction of more than 4 MB is refused.",
        (MOTO,),
        TABLE_MODEL,
    ),
    Lack(
        "test_an_item_whose_time_is_over_vanishes",
        "An item vanishes some time after its TTL, within days.",
        (MOTO,),
        f"{TABLE_MODEL}, where it may vanish at any time",
    ),
)


def expect(request: pytest.FixtureRequest, emulator: str) -> None:
    """A test that this emulator is declared to fail has to fail on it."""
    name = request.node.originalname
    if any(lack.test == name and emulator in lack.emulators for lack in LACKS):
        request.applymarker(pytest.mark.xfail(strict=True, reason=f"{emulator} lacks it"))
