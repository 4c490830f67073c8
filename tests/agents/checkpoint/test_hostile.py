"""Files that are damaged or made to do harm are refused at little cost."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.checkpoint import write
from tests.agents.checkpoint.hostile import TREE, hostile_files
from tests.agents.checkpoint.refuse import MEMORY

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="takes Linux to limit a process's memory")
def test_every_hostile_file_is_refused_at_little_cost(tmp_path: Path) -> None:
    """Would catch: code run from a file, an exception that isn't ours or kills the process, memory or time that a small
    file can ask for, a file that is read though something in it is wrong, errors of pages or that name no file.

    The memory is the address space of one process that reads all the files, so what a library takes counts too, and
    what it keeps; the time is that of the processor, whatever else the machine does.
    """
    marker, folder = tmp_path / "marker", tmp_path / "files"
    folder.mkdir()
    names = {}
    for number, (name, content) in enumerate(hostile_files(tmp_path, marker)):
        names[f"{number:04d}"] = name
        (folder / f"{number:04d}").write_bytes(content)
    assert len(names) >= 300
    # Controls, last: a good file is read, and one that needs more memory than there is isn't.
    write(folder / "good", TREE)
    write(folder / "large", np.zeros(MEMORY, np.uint8))

    limits = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "tests.agents.checkpoint.refuse", str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | limits,
        timeout=280,
    )
    assert result.returncode == 0, result.stderr
    *lines, good, large = map(json.loads, result.stdout.splitlines())
    assert [line["file"] for line in lines] == list(names)
    assert good["end"] == "read"
    assert "doesn't fit in memory" in large["message"]
    for line in lines:
        told = f"{names[line['file']]}: {line}"
        assert line["end"] == "CheckpointError", told
        assert line["seconds"] < 1, told
        assert line["message"].startswith(f"{folder / line['file']} can't be read: "), told
        assert "\n" not in line["message"], told
        assert len(re.findall(": (?:take|give|save) ", line["message"])) == 1, told
        assert len(line["message"]) < 500 + len(str(folder)), told
    assert not marker.exists()
    shutil.rmtree(folder)  # 60 MB, which pytest would keep
