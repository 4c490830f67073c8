"""Which observations an agent reads, and which actions it chooses."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from tests.agents.worlds import box

SMALL_CNN = {"features_extractor_kwargs": {"features_dim": 8}}
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)


@dataclass(frozen=True)
class Observations:
    """Observations, and the policy that reads them."""

    space: spaces.Space
    policy: str = "MlpPolicy"
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    read_by: str = "flattened"
    """What becomes of them before the memory's core."""


@dataclass(frozen=True)
class Actions:
    """Actions, and the arguments that they are chosen with."""

    space: spaces.Space
    arguments: dict[str, Any] = field(default_factory=dict)


OBSERVATIONS = {
    "Box, a vector": Observations(box(3)),
    "Box, two dimensions": Observations(box(2, 3)),
    "image, channels last": Observations(IMAGE, "CnnPolicy", SMALL_CNN, "`NatureCNN`, after `VecTransposeImage`"),
    "image, channels first": Observations(
        spaces.Box(0, 255, (3, 36, 36), np.uint8), "CnnPolicy", SMALL_CNN, "`NatureCNN`"
    ),
    "Discrete": Observations(spaces.Discrete(4), read_by="one-hot"),
    "MultiDiscrete": Observations(spaces.MultiDiscrete([3, 4]), read_by="one-hot, side by side"),
    "MultiBinary": Observations(spaces.MultiBinary(4)),
    "Dict of two images and vectors": Observations(
        spaces.Dict({"left": IMAGE, "right": IMAGE, "speed": box(2), "goal": spaces.Discrete(3)}),
        "MultiInputPolicy",
        {"features_extractor_kwargs": {"cnn_output_dim": 8}},
        "`CombinedExtractor`",
    ),
    "MiniGrid's codes": Observations(spaces.Box(0, 10, (3, 3, 3), np.uint8), read_by="embedded, `MiniGridExtractor`"),
}

ACTIONS = {
    "Discrete": Actions(spaces.Discrete(4)),
    "MultiDiscrete": Actions(spaces.MultiDiscrete([2, 3])),
    "MultiBinary": Actions(spaces.MultiBinary(3)),
    "Box": Actions(spaces.Box(-2, 3, (2,), np.float32)),
    "Box of several dimensions": Actions(spaces.Box(-2, 3, (2, 2), np.float32)),
    "Box, gSDE": Actions(spaces.Box(-2, 3, (2,), np.float32), {"use_sde": True, "sde_sample_freq": 4}),
    "Box, gSDE, squashed": Actions(
        spaces.Box(-2, 3, (2,), np.float32), {"use_sde": True, "policy_kwargs": {"squash_output": True}}
    ),
}
