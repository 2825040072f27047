"""The demo: the article's story, on any machine.

In 2022 the VAE example's loss went 550 → 330 → 4705 → 1.8e8 → nan on MPS while the CPU was fine. No
thread names the cause. The demo imitates it with a fault that gives a similar loss curve: ``neg``
of an expanded tensor does nothing. It is simulated on the CPU and says nothing about real devices.
"""

from __future__ import annotations

from .config import RunConfig, make_config
from .devices import DeviceSpec, parse_devices

DEMO_DEVICES = "cpu,cpu@fault=neg-stride0"

OPENING = (
    "The article's VAE trains twice, with the same initial weights and batches: on the CPU, "
    "and on the CPU with a simulated fault."
)
ALARM_TEXT = "The second run diverged. The investigation now searches for the op that causes it."
ENDING = "The fault was simulated. To do the same with this machine's devices:"


def demo_config() -> RunConfig:
    """Return both runs' configuration: a VAE epoch on the embedded digits, stopped by the alarm."""
    return make_config(
        {
            "workload": "vae",
            "dataset": "embedded",
            "epochs": 1,
            "autotune": "off",
            "step_check": "off",  # it would stop the run at step 1, before it diverges
            "on_alarm": "stop",
        }
    )


def demo_specs() -> tuple[DeviceSpec, ...]:
    """Return the two devices, the one without a fault first."""
    return parse_devices(DEMO_DEVICES)
