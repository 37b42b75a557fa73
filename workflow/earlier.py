"""What Snakemake knows of files that jobs had made before, put back with them.

Of a job that failed it notes that its files were made with the settings of now, and of one that was killed with it that
they are incomplete. Files that are put back are neither: they are as they were before, and as out of date.
"""

from collections.abc import Iterable
from typing import Any

import varc.earlier


def hold(jobs: Iterable[Any], persistence: Any) -> dict[Any, Any]:
    """Holds the files that jobs had made before; file -> Snakemake's record of it, None where it has none."""
    files = [file for job in jobs for file in job.output if varc.earlier.hold(file)]
    return {file: persistence.metadata(file) for file in files}


def put_back(records: dict[Any, Any], persistence: Any) -> list[str]:
    """Puts the files of jobs that did not end in their places again, with Snakemake's records. Returns their paths."""
    found = [file for file in records if varc.earlier.put_back(file)]
    for file in found:
        persistence.cleanup_metadata(file)  # and the mark of an incomplete file
        if records[file]:
            persistence._write_record(persistence._get_key(file), records[file])
    return sorted(map(str, found))
