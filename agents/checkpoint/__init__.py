"""Checkpoints: trees of plain values and tensors in safetensors files, written whole, read without running anything.

Nothing here knows of an algorithm. What an object is made of becomes a tree (spaces, schedules, classes by registered
names, states of random generators), the tree becomes a file.
"""

from agents.checkpoint.classes import class_from_tree, class_to_tree, register
from agents.checkpoint.errors import CheckpointError
from agents.checkpoint.file import read, verify, write
from agents.checkpoint.lock import folder_lock
from agents.checkpoint.random_states import random_states, restore_random_states
from agents.checkpoint.schedules import schedule_from_tree, schedule_to_tree
from agents.checkpoint.series import CheckpointSeries, Newest
from agents.checkpoint.spaces import space_from_tree, space_to_tree
from agents.checkpoint.tree import Tree, fields

__all__ = [
    "CheckpointError",
    "CheckpointSeries",
    "Newest",
    "Tree",
    "class_from_tree",
    "class_to_tree",
    "fields",
    "folder_lock",
    "random_states",
    "read",
    "register",
    "restore_random_states",
    "schedule_from_tree",
    "schedule_to_tree",
    "space_from_tree",
    "space_to_tree",
    "verify",
    "write",
]
