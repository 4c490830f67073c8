"""Writing pictures to a file: H.264 that a browser plays, an animated GIF, or one PNG."""

import os
from collections.abc import Iterable
from pathlib import Path

import imageio.plugins.ffmpeg
import imageio.v2
import imageio_ffmpeg
import numpy as np
from PIL import Image

from experiments.errors import UserError, user_errors
from experiments.runs import written_whole

SUFFIXES = (".mp4", ".gif", ".png")
GIF_COLORS = 96
CRF = 20
"""Quality of H.264, lower is better; at 20 the small text is clean."""


def check_output(path: Path) -> None:
    """Checks, before any work, that a video can be written to `path`.

    Raises:
        UserError: for an unknown suffix, a folder that isn't there or can't be written, or a missing ffmpeg.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--output {path}: the name must end in .mp4, .gif or .png")
    if path.is_dir():
        raise UserError(f"--output {path} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}; make it first, or give another name")
    if not os.access(path.parent, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UserError(f"--output {path} can't be written: no permission")
    if path.suffix.lower() == ".mp4":
        with user_errors(RuntimeError, prefix="there is no ffmpeg to write .mp4 with (.gif needs none): "):
            imageio.plugins.ffmpeg.get_exe()  # type: ignore[no-untyped-call]


def write(path: Path, pictures: Iterable[Image.Image], fps: float) -> int:
    """Writes the pictures, all of one even size, as the suffix says; a .png gets the last one.

    Returns:
        How many pictures were written.
    """
    with written_whole(path) as partial, user_errors(OSError, prefix=f"--output {path} can't be written: "):
        match path.suffix.lower():
            case ".mp4":
                return _write_mp4(partial, pictures, fps)
            case ".gif":
                return _write_gif(partial, pictures, fps)
            case _:
                *_, last = pictures
                last.save(partial)
                return 1


def _write_mp4(path: Path, pictures: Iterable[Image.Image], fps: float) -> int:
    writer = imageio.v2.get_writer(
        path,
        format="FFMPEG",
        mode="I",
        fps=fps,
        codec="libx264",
        pixelformat="yuv420p",
        macro_block_size=2,
        quality=None,
        # faststart puts the index in front, so that a browser begins to play before it has the whole file.
        output_params=["-crf", str(CRF), "-movflags", "+faststart"],
        ffmpeg_log_level="error",
    )
    count = 0
    with writer:
        for picture in pictures:
            writer.append_data(np.asarray(picture))
            count += 1
    # ffmpeg's exit status is lost in imageio: on a full disk it would leave a broken file without a word.
    written = imageio_ffmpeg.count_frames_and_secs(path)[0] if path.is_file() and path.stat().st_size else 0
    if written != count:
        raise OSError(f"only {written} of {count} pictures arrived; is the disk full?")
    return count


def _write_gif(path: Path, pictures: Iterable[Image.Image], fps: float) -> int:
    frames = [picture.quantize(GIF_COLORS, dither=Image.Dither.NONE) for picture in pictures]
    duration = round(1000 / fps)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0, optimize=True)
    return len(frames)
