"""What environments alone can step: the very steps of a training, done again without an agent."""

import time

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from agents.host_rollout import grouped_env_of


class ActionRecorder(BaseCallback):
    """Keeps the actions of a training, of all environments step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[np.ndarray] = []

    def _on_step(self) -> bool:
        self.actions.append(self.locals["clipped_actions"])
        return True


def seconds_alone(vec_env: VecEnv, actions: list[np.ndarray], first: int) -> float:
    """Seconds that environments need for these actions by themselves, from the step `first` on.

    With the seeds of the training they live through the same episodes: an agent that soon ends its episodes has its
    environments reset more often, which costs them more than a step. Groups step as in a rollout: while one is
    received, the others are at work.

    Args:
        vec_env: as the training began with it: seeded, not yet reset.
        actions: of all environments, step by step.
        first: steps before it are done, but not counted.
    """
    grouped = grouped_env_of(vec_env)
    vec_env.reset()
    began = time.perf_counter()
    for step, of_all in enumerate(actions):
        if step == first:
            began = time.perf_counter()
        if grouped is not None:
            for number, rows in enumerate(grouped.group_slices):
                if step > 0:
                    grouped.receive(number)
                grouped.send(number, of_all[rows])
        else:
            vec_env.step(of_all)
    if grouped is not None:
        for number in range(len(grouped.group_slices)):
            grouped.receive(number)
    return time.perf_counter() - began
