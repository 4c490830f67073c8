"""PPO with an expiring memory for Stable-Baselines3."""

from agents.extractors import MiniGridExtractor
from agents.policies import (
    Act,
    CnnPolicy,
    ExpireSpanActorCriticPolicy,
    MlpPolicy,
    MultiInputPolicy,
    PolicyState,
)
from agents.ppo import ExpireSpanPPO

__all__ = [
    "Act",
    "CnnPolicy",
    "ExpireSpanActorCriticPolicy",
    "ExpireSpanPPO",
    "MiniGridExtractor",
    "MlpPolicy",
    "MultiInputPolicy",
    "PolicyState",
]
