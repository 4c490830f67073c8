"""Policies, models and trainings as trees for checkpoints, and back. Nothing that a file says is run or imported."""
