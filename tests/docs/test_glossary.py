"""The glossary: each word once, and each word that points to another entry leads to one."""

import re

from tests.docs.markdown import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"

_ENTRY = re.compile(r"^\*\*([^*]+)\*\*([^:]*):", re.MULTILINE)
_POINTER = re.compile(r"(?<!\*)\*([^*\n]+)\*(?!\*)")


def entries() -> list[str]:
    """The words that are explained, those said to mean the same included."""
    words: list[str] = []
    for word, rest in _ENTRY.findall(GLOSSARY.read_text(encoding="utf-8")):
        words.append(word + (rest if rest.startswith(", of") else ""))
        words += _POINTER.findall(rest)
        words += re.findall(r"\*\*([^*]+)\*\*", rest)
    return words


def test_every_word_is_explained_once() -> None:
    words = entries()
    assert len(words) > 50
    assert sorted(words) == sorted(set(words))


def test_every_pointer_leads_to_an_entry() -> None:
    text = GLOSSARY.read_text(encoding="utf-8").partition("\n## ")[2]
    known = {form for word in entries() for form in (word, f"{word}s", f"{word}d", f"{word}es")}
    pointers = {pointer.lower() for pointer in _POINTER.findall(text)}
    assert not pointers - known
