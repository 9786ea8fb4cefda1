"""What runs were measured to take; `make bench WRITE=1 ONLY=Scaling` writes the figures. Pure.

The processor's figures are one machine's; those of memory and of the table hardly differ between machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Measured:
    """Of a run of the command line on the table store, with one hub.

    Memory is that of a run with next to no state; `memory_times_state` is what each byte of the state
    takes that it loads, as JSON, and `bytes_...` how many bytes a state has of a location. The list of all
    locations takes memory by its places and their devices. A transaction is one request to the table;
    `..._by_key` are those of a location in one of many shards, which read their rows one by one. A reading
    is read by each run whose look-back holds it, and sent once.
    """

    cpu_s_a_run: float
    cpu_ms_a_location: float
    cpu_ms_a_reading_read: float
    cpu_ms_a_reading_sent: float
    memory_mib_a_run: float
    memory_times_state: float
    memory_bytes_a_place: float
    memory_bytes_a_device: float
    bytes_a_location: float
    bytes_a_sensor: float
    bytes_a_reading_an_hour: float
    transactions_a_run: float
    transactions_a_second: float
    transactions_a_location: float
    transactions_a_location_by_key: float


# written: from here on
MEASURED: Final = Measured(
    cpu_s_a_run=0.325,
    cpu_ms_a_location=1.9,
    cpu_ms_a_reading_read=0.0339,
    cpu_ms_a_reading_sent=0.041,
    memory_mib_a_run=52.1,
    memory_times_state=4.63,
    memory_bytes_a_place=975.0,
    memory_bytes_a_device=231.0,
    bytes_a_location=1530.0,
    bytes_a_sensor=101.0,
    bytes_a_reading_an_hour=414.0,
    transactions_a_run=10.0,
    transactions_a_second=2.11,
    transactions_a_location=0.0,
    transactions_a_location_by_key=1.02,
)
# written: up to here
