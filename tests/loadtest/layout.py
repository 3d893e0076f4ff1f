"""Lays JMeter's jars out in the folders in which it looks for its parts."""

import shutil
import sys
from pathlib import Path
from zipfile import ZipFile

#: Plug-ins and a library around JMeter that its own distribution does not have.
FOREIGN = "jmeter-"


def lay_out(jars: Path, home: Path) -> None:
    """Moves the jars into an empty home, and unpacks the configuration beside the launcher."""
    for folder in ("bin", "lib/ext", "lib/junit"):
        (home / folder).mkdir(parents=True)
    (configuration,) = jars.glob("ApacheJMeter_config-*.jar")
    with ZipFile(configuration) as archive:
        archive.extractall(home, [name for name in archive.namelist() if name.startswith("bin/")])
    for jar in jars.glob("*.jar"):
        if jar.name.startswith("ApacheJMeter-"):
            shutil.move(jar, home / "bin" / "ApacheJMeter.jar")
        elif jar.name.startswith("ApacheJMeter_"):
            shutil.move(jar, home / "lib" / "ext")
        elif not jar.name.startswith(FOREIGN):
            shutil.move(jar, home / "lib")


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]), Path(sys.argv[2]))
