"""What can be seen from where in a MiniGrid level."""

import numpy as np
from minigrid.core.constants import OBJECT_TO_IDX
from minigrid.minigrid_env import MiniGridEnv

Cell = tuple[int, int]


def sees(env: MiniGridEnv, cues: list[Cell], targets: list[Cell]) -> list[tuple[Cell, int]]:
    """Places and directions, over all free cells, from which a cue and a target are visible at once."""
    found: list[tuple[Cell, int]] = []
    for x in range(env.width):
        for y in range(env.height):
            if env.grid.get(x, y) is not None:
                continue
            for direction in range(4):
                env.agent_pos, env.agent_dir = (x, y), direction
                image = env.gen_obs()["image"]
                if any(_visible(env, image, c) for c in cues) and any(_visible(env, image, t) for t in targets):
                    found.append(((x, y), direction))
    return found


def _visible(env: MiniGridEnv, image: np.ndarray, cell: Cell) -> bool:
    coordinates = env.relative_coords(*cell)
    if coordinates is None:
        return False
    return bool(image[coordinates[0], coordinates[1], 0] != OBJECT_TO_IDX["unseen"])
