"""The tasks as batches of tensors, which step on the CPU or a GPU, equal step by step to the Python ones.

`make_batched` makes one; `BatchedVecEnv` is for Stable-Baselines3 and `BatchedVectorEnv` for Gymnasium.
"""

from envs.batched.engine import BatchedEnv, BatchedState, Transition
from envs.batched.make import batched_ids, has_batched, make_batched
from envs.batched.vec_env import BatchedVecEnv
from envs.batched.vector_env import BatchedVectorEnv

__all__ = [
    "BatchedEnv",
    "BatchedState",
    "BatchedVecEnv",
    "BatchedVectorEnv",
    "Transition",
    "batched_ids",
    "has_batched",
    "make_batched",
]
