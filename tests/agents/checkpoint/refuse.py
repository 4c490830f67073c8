"""Reads files in a process that can't take more than so much memory: `python -m tests.agents.checkpoint.refuse`."""

import json
import resource
import sys
import time
from pathlib import Path

from agents.checkpoint import read

MEMORY = 100_000_000
"""Bytes of address space that may come in addition to what the process has before the first file."""


def main(folder: Path) -> None:
    """Prints for each file in the folder, as a line of JSON, how reading it ended and how many seconds it took."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for path in sorted(folder.iterdir()):
        begin = time.process_time()
        try:
            read(path)
        except Exception as error:
            end, message = type(error).__name__, str(error)
        else:
            end, message = "read", ""
        seconds = time.process_time() - begin
        print(json.dumps({"file": path.name, "end": end, "message": message, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
