"""Presets as files: what `train --preset FILE.json` reads and `tune` writes."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from experiments.config import TrainConfig
from experiments.errors import UserError, one_line
from experiments.settings import SECTIONS, checked, kinds

FORMAT_VERSION = 1
"""Of the file. Raise it when a file written before can no longer be read."""

_OF_A_RUN = {"preset", "run_dir", "overwrite", "resume"}
"""Settings that say where a training lies, not what it is."""
_OF_A_MACHINE = {"device", "torch_threads", "progress", "checkpoint_every", "keep_checkpoints"}
"""Settings that are left out of a file, though one may have them."""


def is_file_name(preset: str) -> bool:
    """Whether what `--preset` was given is meant as a file, not as a name."""
    return preset.endswith(".json") or "/" in preset or os.sep in preset


def content(config: TrainConfig, title: str) -> dict[str, Any]:
    """The file's content: a title for people, and the settings."""
    settings = dataclasses.asdict(config)
    kept = {name: value for name, value in settings.items() if name not in _OF_A_RUN | _OF_A_MACHINE}
    return {"format_version": FORMAT_VERSION, "title": title, "config": kept}


def read(path: Path, flag: str = "--preset") -> TrainConfig:
    """The settings in a file; those that it doesn't have are the defaults.

    Args:
        path: of the file.
        flag: that named it, for the error message.

    Raises:
        UserError: if there is no such file, it isn't a preset's, or has a setting that doesn't exist or a value of
            the wrong type.
    """
    try:
        record = json.loads(path.read_bytes())
    except IsADirectoryError:
        raise UserError(f"{flag} {path} is a folder: give a file, such as the best.json of a study") from None
    except FileNotFoundError:
        raise UserError(f"{flag} {path}: there is no such file") from None
    except OSError as error:
        raise UserError(f"{flag} {path} can't be read: {error.strerror}") from None
    # RecursionError: brackets nested too deeply.
    except (ValueError, RecursionError) as error:
        raise UserError(f"{flag} {path} isn't JSON: {one_line(error)}") from None
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict) or "format_version" not in record:
        raise UserError(f"{flag} {path} isn't a preset: it needs a format_version and a config, as best.json has")
    if record["format_version"] != FORMAT_VERSION:
        raise UserError(f"{flag} {path} is of format {record['format_version']!r}, this version reads {FORMAT_VERSION}")
    settings = record["config"]
    known = {name: kind for name, kind in kinds(TrainConfig).items() if name not in _OF_A_RUN}
    top = {name: value for name, value in settings.items() if name not in SECTIONS}
    arguments = checked(f"{flag} {path}: config", top, known)
    for name, section in SECTIONS.items():
        if name in settings:
            arguments[name] = section(**checked(f"{flag} {path}: {name}", settings[name], kinds(section)))
    return TrainConfig(**arguments)
