"""What `make demo` trains: minutes on two CPU cores."""

import dataclasses

from experiments.presets import Preset
from experiments.presets.memory_s9 import PRESET as MEMORY_S9

PRESET = Preset(
    title=f"the demo: {MEMORY_S9.title}, in half a million steps",
    demands=MEMORY_S9.demands,
    # It succeeds by sampled actions after a third of them; not until entropy has fallen do the likeliest ones as well.
    config=dataclasses.replace(
        MEMORY_S9.config,
        agent=dataclasses.replace(MEMORY_S9.config.agent, stats_window_size=400),
        total_timesteps=500_000,
    ),
)
