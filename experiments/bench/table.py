"""The rows as a table."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from experiments.config import BenchConfig

UNEVEN = 2.0
"""From here on the table says that a row's iterations took unequally long."""


def print_table(config: BenchConfig, results: list[dict[str, Any]]) -> None:
    """Prints the rows on standard output, and below them what the words mean and why rows failed."""
    console = Console(highlight=False)
    sizes = (
        f"{config.n_envs} environments of {config.n_steps} steps, batch {config.batch_size}, {config.n_epochs} epochs"
    )
    devices = {row["device_name"] or row["device"] for row in results if row["device"]}
    threads = {row["torch_threads"] for row in results if row["torch_threads"]}
    where = ", ".join([*sorted(devices), *(f"{count} thread{'s' * (count > 1)}" for count in threads)])
    title = f"{config.env_id} {' '.join(config.env_args)}".strip()
    table = Table(title=f"{title}: {sizes}; {where}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns = _SLOTS_COLUMNS if config.slots_table else _COLUMNS
    # Where a terminal is narrow the names wrap, and no number loses a digit.
    table.add_column("slots, longest span" if config.slots_table else "")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in results:
        name = f"{row['slots']}, {row['max_span']:.0f}" if config.slots_table else row["name"]
        table.add_row(name, *(_text(row[field], form) for field, form in columns.values()))
    console.print(table)
    for row in results:
        if row["error"]:
            console.print(f"{row['name']} failed: {row['error']}", markup=False)
    uneven = [f"{row['name']} ({row['unevenness']:.1f})" for row in results if (row["unevenness"] or 1) > UNEVEN]
    if uneven:
        console.print(
            f"The slowest iteration took far longer than the fastest: {', '.join(uneven)}. Was the machine busy? "
            f"--torch-threads 1 suffers less from that."
        )
    if any(row["ratio"] is not None for row in results):
        console.print(
            "acting, env, update: shares of the time. env alone: steps/s of the same steps without an agent. ratio: "
            "steps/s over those of recurrent-ppo stock, whose loop over the steps of each minibatch alone costs it "
            "a factor of 1.3 to 3.8 (docs/benchmarks.md)."
        )


_COLUMNS = {
    "steps/s": ("steps_per_second", ",.0f"),
    "acting": ("acting_share", ".0%"),
    "env": ("env_share", ".0%"),
    "update": ("update_share", ".0%"),
    "env alone": ("env_alone_steps_per_second", ",.0f"),
    "peak MiB": ("peak_memory_mib", ",.0f"),
    "ratio": ("ratio", ".2f"),
}
_SLOTS_COLUMNS = {
    "acting step, ms": ("acting_ms", ".3f"),
    "peak MiB": ("peak_memory_mib", ",.0f"),
    "steps/s": ("steps_per_second", ",.0f"),
}
"""Heading: field of the row, and its format."""


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
