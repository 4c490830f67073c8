"""Features extractors for observations that Stable-Baselines3 has none for."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Shaped
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.checkpoint import register


class MiniGridExtractor(BaseFeaturesExtractor):
    """Embeds MiniGrid's codes: what stands in a cell, its colour and its state are names, not intensities.

    Each channel has a table of embeddings; a cell is the sum of its three, and the cells, each in its place, go
    through one linear layer and a ReLU. `pooled` adds what is in view, wherever it stands: each cell goes through a
    linear layer and a ReLU of all cells, of which the greatest count. So an object is the same at the start of a
    corridor and at its end, in another cell, and what was learned of it in one place holds in all.

    Args:
        observation_space: `Box` of integers from 0, shape `(view, view, channels)`, with the greatest code as `high`.
        features_dim: size of the features.
        embedding_dim: size of a cell's embedding.
        pooled: whether to add the features of what is in view, wherever.

    Raises:
        ValueError: for another observation space, or a `pooled` that is neither True nor False.
    """

    def __init__(
        self, observation_space: gym.Space[Any], features_dim: int = 128, embedding_dim: int = 16, pooled: bool = False
    ) -> None:
        super().__init__(observation_space, features_dim)
        if not is_minigrid_codes(observation_space):
            raise ValueError(
                f"MiniGridExtractor reads MiniGrid's codes, an integer Box (view, view, channels) of small numbers "
                f"from 0 (high at most 63); got {observation_space}"
            )
        if not isinstance(pooled, bool):
            raise ValueError(f"pooled={pooled!r} must be True or False")
        assert isinstance(observation_space, spaces.Box)
        height, width, channels = observation_space.shape
        codes = int(observation_space.high.max()) + 1
        self.embeddings = nn.ModuleList(nn.Embedding(codes, embedding_dim) for _ in range(channels))
        self.linear = nn.Sequential(nn.Linear(height * width * embedding_dim, features_dim), nn.ReLU())
        self.of_cell = nn.Sequential(nn.Linear(embedding_dim, features_dim), nn.ReLU()) if pooled else None

    def forward(self, observations: Shaped[Tensor, "batch height width channels"]) -> Shaped[Tensor, "batch features"]:
        """Features of observations, whole numbers up to the greatest code, of any dtype."""
        tables = torch.cat([*self.embeddings.parameters()])
        # As a matrix product, whose gradient is one, too: that of a table looked up is a sum into very few rows, of
        # which each addition waits for the last.
        one_hot = observations[..., None] == torch.arange(len(tables) // len(self.embeddings), device=tables.device)
        cells = one_hot.flatten(-2).to(tables.dtype) @ tables
        features: Tensor = self.linear(cells.flatten(1))
        return features if self.of_cell is None else features + self.of_cell(cells.flatten(1, 2)).amax(1)


def is_minigrid_codes(space: gym.Space[Any]) -> bool:
    """Whether a space holds small integer codes in a grid of cells, `(height, width, channels)`."""
    return (
        isinstance(space, spaces.Box)
        and len(space.shape) == 3
        and np.issubdtype(space.dtype, np.integer)
        and bool((space.low == 0).all())
        and bool((space.high < 64).all())
    )


register(MiniGridExtractor.__name__, MiniGridExtractor)
