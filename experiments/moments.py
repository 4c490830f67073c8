"""Episodes as they are recorded: what the environment looked like, and what the agent remembered, at every step."""

import zlib
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float, Int, UInt8
from minigrid.core.actions import Actions
from minigrid.minigrid_env import MiniGridEnv

from agents import ExpireSpanPPO
from agents.action_masks import uses_masks
from agents.cores import CoreStep
from agents.finite import check_finite
from envs.faults import numbered
from experiments.acting import Actor, masks_of
from experiments.errors import UserError
from expire_span import ExpireSpanCore, StepOutput

Pixels = UInt8[np.ndarray, "height width 3"]

WINDOW = 25
"""Cells of a MiniGrid that are shown at most, in each direction, around the agent."""
FRAME_PIXELS = 1000
THUMB_PIXELS = 84
"""About how long the longer side of a MiniGrid's frame, and of its view, is rendered."""


@dataclass(frozen=True)
class Picture:
    """Pixels, compressed: a recording holds thousands of pictures at once."""

    data: bytes
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, pixels: Pixels) -> "Picture":
        """Compresses the pixels."""
        height, width, channels = pixels.shape
        return cls(zlib.compress(np.ascontiguousarray(pixels).tobytes(), level=1), (height, width, channels))

    def pixels(self) -> Pixels:
        """The pixels again."""
        return np.frombuffer(zlib.decompress(self.data), dtype=np.uint8).reshape(self.shape)


@dataclass(frozen=True)
class Moment:
    """One step of an episode."""

    episode: int
    """Counted from 1."""
    step: int
    """Counted from 1; the step that acts on `frame`."""
    frame: Picture
    """The environment before the step's action."""
    action: str
    """What the agent does now; after the last step, nothing."""
    made_at: Int[np.ndarray, "layers slots"]
    """The step that wrote each slot; 0 for an empty one. A core without slots has no layers here."""
    masks: Float[np.ndarray, "layers slots"]
    """Expire masks as this step saw them."""
    attention: Float[np.ndarray, "layers slots_and_itself"]
    """Attention weights over the slots and, last, the step itself: the largest among the heads."""
    outcome: str | None
    """"success", "failure" or "the end", after an episode's last step; else None."""


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode's moments, and for each step (from 1 on) the small picture a memory of it is shown by."""

    moments: list[Moment]
    thumbs: dict[int, Picture]
    note: str
    """What is particular about this episode, such as the corridor's length; may be empty."""


class SlotBook:
    """Which step each slot's memory was made at.

    Args:
        layers: of the core.
        slots: of a layer.
    """

    def __init__(self, layers: int, slots: int) -> None:
        self.made_at = np.zeros((layers, slots), dtype=np.int64)

    def enter(self, step: int, write_slot: Int[np.ndarray, " layers"], kept: Bool[np.ndarray, " layers"]) -> None:
        """Notes that this step's states went to these slots, in the layers where they were kept."""
        if self.made_at.shape[1] == 0:
            return
        layers = np.flatnonzero(kept)
        self.made_at[layers, write_slot[layers]] = step


def record_episode(
    env: gym.Env[Any, Any], model: ExpireSpanPPO, episode: int, deterministic: bool, max_steps: int
) -> RecordedEpisode:
    """Plays one episode and keeps what is to be shown.

    Args:
        env: renders to pixels; a reset begins the episode to record.
        model: the agent.
        episode: its number, from 1.
        deterministic: take the likeliest actions; else sample.
        max_steps: after so many steps the episode is cut off.

    Raises:
        EnvironmentFault, FloatingPointError: of an environment that fails, as in a training.
    """
    observation, info = env.reset()
    actor = Actor(model, 1, deterministic)
    core, masked = model.policy.core, uses_masks(env, model.use_masking)
    book = SlotBook(core.depth, core.slots) if isinstance(core, ExpireSpanCore) else SlotBook(0, 0)
    note = f"corridor of {info['corridor_length']}" if "corridor_length" in info else ""
    moments: list[Moment] = []
    thumbs: dict[int, Picture] = {}
    done = False
    while not done:
        step = len(moments) + 1
        frame, thumbs[step] = render(env)
        masks = masks_of(env)[None] if masked else None
        batch = _batch_of_one(observation)
        check_finite(batch, "observation", step - 1, of=f"episode {episode}")
        actions, core_step = actor.act(batch, np.array([step == 1]), masks)
        moments.append(_moment(episode, step, frame, action_name(env, actions[0]), book, core_step))
        if isinstance(core_step, StepOutput):
            book.enter(step, _host(core_step.write.slot), _host(core_step.write.kept).astype(bool))
        observation, reward, terminated, truncated, info = env.step(actions[0])
        check_finite(np.array([reward], dtype=float), "reward", step, of=f"episode {episode}")
        done = terminated or truncated or step >= max_steps
    frame, _ = render(env)
    last = moments[-1]
    moments.append(Moment(episode, last.step, frame, "", last.made_at, last.masks, last.attention, _outcome(info)))
    return RecordedEpisode(moments, thumbs, note)


def _moment(episode: int, step: int, frame: Picture, action: str, book: SlotBook, core_step: CoreStep) -> Moment:
    if not isinstance(core_step, StepOutput):
        return Moment(episode, step, frame, action, book.made_at, np.zeros((0, 0)), np.zeros((0, 1)), None)
    masks = core_step.masks[:, 0].float().cpu().numpy()
    attention = core_step.attention[:, 0].float().amax(dim=1).cpu().numpy()
    return Moment(episode, step, frame, action, book.made_at.copy(), masks, attention, None)


def _host(per_layer: Any) -> np.ndarray:
    of_first: np.ndarray = per_layer[:, 0].cpu().numpy()
    return of_first


def _batch_of_one(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {name: np.asarray(part)[None] for name, part in observation.items()}
    return np.asarray(observation)[None]


def _outcome(info: dict[str, Any]) -> str:
    if info.get("is_success") is None:
        return "the end"
    return "success" if info["is_success"] else "failure"


def action_name(env: gym.Env[Any, Any], action: Any) -> str:
    """An action in a word: MiniGrid's have names, others are written as they are."""
    if isinstance(env.unwrapped, MiniGridEnv) and isinstance(env.action_space, spaces.Discrete):
        return Actions(int(action)).name
    return np.array2string(np.asarray(action), precision=2, separator=" ")


def render(env: gym.Env[Any, Any]) -> tuple[Picture, Picture]:
    """The environment's frame, and the small picture for a memory of this moment.

    MiniGrid is shown around its agent, where it is longer than `WINDOW`; its small picture is what the agent sees.
    Of another environment both are the same frame.

    Raises:
        UserError: if the environment gives no picture.
        EnvironmentFault: if it fails while it draws.
    """
    base = env.unwrapped
    if isinstance(base, MiniGridEnv):
        with numbered(0):  # not drawn by `env.render`, which tells of it
            return Picture.of(_grid_frame(base)), Picture.of(base.get_pov_render(THUMB_PIXELS // base.agent_view_size))
    pixels: Any = env.render()
    is_array = isinstance(pixels, np.ndarray)
    # Of floats it isn't known whether they go to 1 or to 255: taken as they are they would mostly be black.
    if not is_array or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        gave = f"shape {pixels.shape}, {pixels.dtype}" if is_array else type(pixels).__name__
        raise UserError(f"the environment can't be recorded: render() gave {gave}; needed (height, width, 3) of uint8")
    picture = Picture.of(pixels)
    return picture, picture


def _grid_frame(base: MiniGridEnv) -> Pixels:
    width, height = base.width, base.height
    tile = FRAME_PIXELS // min(max(width, height), WINDOW)
    frame = base.get_frame(highlight=True, tile_size=tile)
    x, y = (int(at) for at in base.agent_pos)
    left, top = _start(x, width), _start(y, height)
    window: np.ndarray = frame[top * tile : (top + WINDOW) * tile, left * tile : (left + WINDOW) * tile]
    return window


def _start(at: int, size: int) -> int:
    """First of the cells shown, so that the agent at `at` is in the middle where the grid allows it."""
    return max(0, min(at - WINDOW // 2, size - WINDOW))
