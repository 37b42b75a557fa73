"""The files of a job that runs again, as they were before: held until the new ones are whole.

Snakemake takes a job's files away when it starts. What it had made before has a second name beside it meanwhile, and is
put back where the job never ends, so that a training that is begun again and killed costs no weights.
"""

import os
import shutil
from pathlib import Path


def held(path: str | Path) -> Path:
    """The second name of a file."""
    path = Path(path)
    return path.with_name(f".{path.name}.before")


def hold(path: str | Path) -> bool:
    """Gives a file its second name, and returns whether there is one to be put back.

    One that has the name already stays: a job that was killed with its run had made it before. Raises OSError where the
    folder cannot be written to.
    """
    name = held(path)
    try:
        os.link(path, name)
    except FileNotFoundError:
        return name.exists()
    except FileExistsError:
        return True
    except OSError:  # a file system without hard links
        temporary = name.with_suffix(f".{os.getpid()}.tmp")
        shutil.copy2(path, temporary)
        os.replace(temporary, name)
    return True


def put_back(path: str | Path) -> bool:
    """Puts a file that is held in its place again, with its time; returns whether another or none lay there."""
    name = held(path)
    if not name.exists():
        return False
    if os.path.exists(path) and os.path.samefile(path, name):  # its job never began
        name.unlink()
        return False
    os.replace(name, path)
    return True


def let_go(path: str | Path) -> None:
    """Takes the second name away: the new file is whole."""
    held(path).unlink(missing_ok=True)
