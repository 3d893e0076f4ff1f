"""How this command is typed, for lines that are to be copied."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def program() -> str:
    """Returns ``eventdemo`` where the shell finds it, else the path, or ``python -m eventdemo``."""
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return f"{_as_typed(Path(sys.executable))} -m eventdemo"
    on_path = shutil.which(script.name)
    if on_path and script.exists() and script.samefile(on_path):
        return script.name
    return _as_typed(script)


def _as_typed(path: Path) -> str:
    """A path from the current folder if it is in it; a shell takes a name alone from PATH."""
    absolute = path.absolute()
    if absolute.is_relative_to(Path.cwd()):
        relative = str(absolute.relative_to(Path.cwd()))
        return shlex.quote(relative if os.sep in relative else f".{os.sep}{relative}")
    return shlex.quote(str(absolute))
