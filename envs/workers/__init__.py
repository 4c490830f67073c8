"""Environments in worker processes: `envs.workers.vec_env` has the `VecEnv`, `envs.workers.episodes` what it steps.

Nothing is imported here: a worker imports this package too, and Stable-Baselines3 would bring PyTorch into it.
"""
