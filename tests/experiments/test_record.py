"""Recording: files that play, and pictures that say what the agent remembers."""

import re
import subprocess
from pathlib import Path

import imageio.plugins.ffmpeg
import imageio.v3
import numpy as np
import pytest
from PIL import Image, ImageSequence

from envs.faults import EnvironmentFault
from experiments import runs
from experiments.acting import Actor
from experiments.drawing import Layout, Painter, attention_color, faded, places
from experiments.environments import SeededEpisodes, fresh_seeds, make
from experiments.moments import Moment, Picture, SlotBook, record_episode, render
from tests.experiments.conftest import Cli


def test_mp4(trained: Path, tmp_path: Path, cli: Cli) -> None:
    """A video that no browser plays: another codec, colours in full resolution, odd sizes; frames lost."""
    path = tmp_path / "video.mp4"
    outcome = cli("record", trained, "--episodes", 2, "--output", path, "--max-steps", 8)
    assert outcome.status == 0, outcome.err
    said = re.search(r"2 episodes.* (\d+) pictures", outcome.out)
    assert said is not None
    frames = imageio.v3.imread(path)
    assert frames.shape[0] == int(said.group(1))
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0
    assert frames[0].std() > 10
    ffmpeg = imageio.plugins.ffmpeg.get_exe()
    about = subprocess.run([ffmpeg, "-i", str(path)], capture_output=True, text=True, check=False).stderr
    assert "h264" in about
    assert "yuv420p" in about
    assert list(tmp_path.iterdir()) == [path]


def test_gif_and_png(trained: Path, tmp_path: Path, cli: Cli) -> None:
    """A GIF whose pictures are dropped or shown too short; a .png of something else than one picture."""
    gif, png = tmp_path / "video.gif", tmp_path / "picture.png"
    outcome = cli("record", trained, "--episodes", 1, "--output", gif, "--fps", 5)
    said = re.search(r"(\d+) pictures", outcome.out)
    assert said is not None
    assert cli("record", trained, "--output", png).status == 0
    shown = 0
    with Image.open(gif) as animation:
        for frame in ImageSequence.Iterator(animation):
            shown += frame.info["duration"]
        size = animation.size
    # Equal pictures in a row are stored as one that is shown longer.
    assert shown == int(said.group(1)) * 200
    with Image.open(png) as picture:
        assert picture.size[0] == size[0]


def test_a_grid_that_fails_while_it_is_drawn(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the user's told as ours: MiniGrid's frames aren't drawn by the environment's own `render`."""

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no font")

    env = make(runs.load(trained, "cpu").config.env)
    env.reset(seed=0)
    monkeypatch.setattr(env.unwrapped, "get_pov_render", fails)
    with pytest.raises(EnvironmentFault, match=r"^environment 0: RuntimeError: no font \("):
        render(env)


def test_slot_book_agrees_with_the_memory(trained: Path) -> None:
    """A small picture that belongs to another memory, once slots are overwritten or a state isn't kept."""
    run = runs.load(trained, "cpu")
    env = SeededEpisodes(make(run.config.env), fresh_seeds(0, 1))
    observation, _ = env.reset()
    actor, book = Actor(run.model, 1, deterministic=False), SlotBook(2, 6)
    compared = 0
    for step in range(1, 18):
        actions, did = actor.act(observation[None], np.array([step == 1]))
        book.enter(step, did.write.slot[:, 0].numpy(), did.write.kept[:, 0].numpy())
        ages = actor._cache.memory.elapsed_times[:, 0].numpy()
        filled = np.isfinite(ages)
        np.testing.assert_array_equal(step - book.made_at[filled], ages[filled])
        compared += int(filled.sum())
        observation, _, terminated, truncated, _ = env.step(actions[0])
        if terminated or truncated:
            break
    assert compared > 10


def moment(step: int, made_at: list[int], masks: list[float]) -> Moment:
    nothing = Picture.of(np.zeros((4, 4, 3), dtype=np.uint8))
    weights = np.zeros((1, len(masks) + 1))
    return Moment(1, step, nothing, "", np.array([made_at]), np.array([masks]), weights, None)


def test_places_stay() -> None:
    """Memories that jump about in the picture when another one dies."""
    moments = [
        moment(1, [0, 0, 0], [0, 0, 0]),
        moment(2, [1, 0, 0], [1, 0, 0]),
        moment(3, [1, 2, 0], [1, 1, 0]),
        moment(4, [1, 2, 3], [0, 1, 1]),
        moment(5, [4, 2, 3], [1, 0.2, 1]),
    ]
    assert [layers[0] for layers in places(moments)] == [
        {},
        {1: 0},
        {1: 0, 2: 1},
        {2: 1, 3: 0},
        {2: 1, 3: 0, 4: 2},
    ]


def test_brightness_is_the_mask() -> None:
    """A dying memory as bright as a young one."""
    white = Picture.of(np.full((8, 8, 3), 255, dtype=np.uint8))
    means = [np.asarray(faded(white, 16, mask)).mean() for mask in (0.0, 0.5, 1.0)]
    assert means[0] < 40
    assert means[1] == pytest.approx((means[0] + means[2]) / 2, abs=1)
    assert means[2] == 255


def test_attention_colors_rise() -> None:
    """A frame that gets darker with more attention."""
    brightness = [sum(attention_color(weight / 10)) for weight in range(11)]
    assert brightness == sorted(brightness)


@pytest.mark.parametrize(("shape", "memories"), [((400, 400, 3), 0), ((100, 1000, 3), 300), ((600, 400, 3), 64)])
def test_everything_lies_inside_the_picture(shape: tuple[int, int, int], memories: int) -> None:
    """Memories cut off at the edge, or drawn over the environment, when there are many of them."""
    layout = Layout.of(shape, layers=3, n_places=memories)
    left, top, right, bottom = layout.memory
    assert right <= layout.size[0]
    assert bottom <= layout.size[1]
    assert layout.frame[2] <= left or layout.frame[3] <= top
    for place in range(memories):
        x, y = layout.cell(2, place)
        assert x + layout.thumb <= right
        assert y + layout.thumb <= bottom


def test_no_memory_at_all_can_be_drawn(trained: Path) -> None:
    """The first moment of an episode has no memories, a core without slots never has any."""
    run = runs.load(trained, "cpu")
    env = SeededEpisodes(make(run.config.env, render_mode="rgb_array"), fresh_seeds(0, 1))
    recorded = record_episode(env, run.model, 1, deterministic=True, max_steps=1)
    image = Painter([recorded], "title", slots=6).paint(0, 0)
    assert image.size == Painter([recorded], "title", slots=6).layout.size


def test_one_is_no_plural(trained: Path, tmp_path: Path, cli: Cli) -> None:
    """Catches: "1 episodes"."""
    outcome = cli("record", trained, "--episodes", 1, "--output", tmp_path / "one.png")
    assert outcome.status == 0, outcome.err
    assert ": 1 episode, " in outcome.out
    assert outcome.out.endswith(", 1 picture\n")
