"""What is said about the emulators is what the tests find."""

from tests.docs.markdown import ROOT
from tests.emulators import test_dynamodb, test_messaging
from tests.emulators.lacks import LACKS

DOCUMENT = ROOT / "docs" / "aws-emulators.md"
HEAD = "| AWS | what lacks it | what covers it instead |\n| --- | --- | --- |\n"


def test_the_document_lists_what_the_emulators_lack() -> None:
    _, _, after = DOCUMENT.read_text(encoding="utf-8").partition(HEAD)
    listed, _, _ = after.partition("\n\n")
    assert listed.splitlines() == [
        f"| {lack.aws} | {' and '.join(lack.emulators)} | {lack.covered_by} |" for lack in LACKS
    ]


def test_each_lack_is_shown_by_a_test() -> None:
    tests = {*dir(test_dynamodb), *dir(test_messaging)}
    assert [lack.test for lack in LACKS if lack.test not in tests] == []
