"""What is wrong with a value, in plain words instead of the decoder's."""

import re
from collections.abc import Mapping

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
_TYPE = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<given>[^`]+)`")
_RANGE = re.compile(r"Expected `(?:int|float)` (?P<sign>[<>]=) (?P<bound>\S+)")
_LENGTH = re.compile(r"Expected `str` of length (?P<sign>[<>]=) (?P<bound>\d+)")
_PATTERN = re.compile(r"Expected `str` matching regex (?P<quoted>'.*'|\".*\")")
_CHOICE = re.compile(r"Invalid enum value (?P<given>.*)")
_BOUNDS = {">=": "at least", "<=": "at most"}


def in_words(message: str, forms: Mapping[str, str] = {}) -> str:
    """A decoder's message about one value in plain words; ``forms`` describe patterns."""
    message = message.partition(" - at `")[0]
    if match := _TYPE.fullmatch(message):
        return f"has to be {_kinds(match['expected'])}, not {_kinds(match['given'])}"
    if match := _RANGE.fullmatch(message):
        return f"has to be {_BOUNDS[match['sign']]} {match['bound'].removesuffix('.0')}"
    if match := _LENGTH.fullmatch(message):
        return f"has to have {_BOUNDS[match['sign']]} {match['bound']} characters"
    if match := _PATTERN.fullmatch(message):
        described = (words for pattern, words in forms.items() if repr(pattern) == match["quoted"])
        return f"has to be {next(described, 'of another form')}"
    if match := _CHOICE.fullmatch(message):
        return f"can't be {match['given']}"
    return message


def _kinds(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | "))
