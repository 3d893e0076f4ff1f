"""The Python of the docs is run as doctests; all blocks of a document share their names."""

import doctest
from pathlib import Path

import pytest

from tests.docs.markdown import DOCUMENTS, ROOT, blocks

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
WITH_PYTHON = [document for document in DOCUMENTS if blocks(document, "python")]


@pytest.mark.parametrize("document", WITH_PYTHON, ids=lambda path: path.name)
def test_every_python_block_answers_as_written(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    names: dict[str, object] = {"__name__": "__main__"}
    said: list[str] = []
    for block in blocks(document, "python"):
        name = str(document.relative_to(ROOT))
        test = doctest.DocTestParser().get_doctest(block.text, names, name, name, block.line)
        assert test.examples, f"{block.where} holds no example"
        runner.run(test, out=said.append, clear_globs=False)
        names = test.globs
    assert not runner.failures, "".join(said)
