"""Memory cores of a policy: what is asked of one, and those that can be had by name."""

from agents.cores.choice import CORES, checked, core_maker
from agents.cores.protocol import CoreCache, CoreOutput, CoreStep, Memory, MemoryCore, mapped, tensors_of
from agents.cores.recurrent import GRUCore, GRUMemory, LSTMCore, LSTMMemory
from agents.cores.state import StateCache, StateCore, StateOutput, StateStep

__all__ = [
    "CORES",
    "CoreCache",
    "CoreOutput",
    "CoreStep",
    "GRUCore",
    "GRUMemory",
    "LSTMCore",
    "LSTMMemory",
    "Memory",
    "MemoryCore",
    "StateCache",
    "StateCore",
    "StateOutput",
    "StateStep",
    "checked",
    "core_maker",
    "mapped",
    "tensors_of",
]
