"""What `make demo` trains: minutes on two CPU cores."""

import dataclasses

from experiments.presets import Preset
from experiments.presets.memory_s9 import PRESET as MEMORY_S9

PRESET = Preset(
    title=f"the demo: {MEMORY_S9.title}, until it is solved",
    demands=MEMORY_S9.demands,
    config=dataclasses.replace(
        MEMORY_S9.config,
        agent=dataclasses.replace(MEMORY_S9.config.agent, stats_window_size=400),
        stop_at_success=0.98,
    ),
)
