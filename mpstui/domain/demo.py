"""The demo: the article's story, on any machine.

In 2022 the VAE example went 550 → 330 → 4705 → 1.8e8 → nan on MPS while the CPU was fine. No thread
names the cause. Here it is played by a fault that gives the same course, ``neg`` of an expanded
tensor that does nothing, simulated on the CPU: nothing is said of a real device.
"""

from __future__ import annotations

from .config import RunConfig, make_config
from .devices import DeviceSpec, parse_devices

DEVICES = "cpu,cpu@fault=neg-stride0"

OPENING = (
    "The VAE of the article trains twice, from the same weights on the same batches: on the CPU, "
    "and on the CPU with a simulated fault."
)
ALARM = "The second run diverged. Now the investigation looks for the op that causes it."
ENDING = "The fault was simulated. The same for this machine's own devices:"


def demo_config() -> RunConfig:
    """What both runs train: an epoch of the VAE on the embedded digits, stopped by the alarm."""
    return make_config(
        {
            "workload": "vae",
            "dataset": "embedded",
            "epochs": 1,
            "calibrate": "off",
            "step_check": "off",  # it would stop the run at step 1, before it diverges
            "on_alarm": "stop",
        }
    )


def demo_specs() -> tuple[DeviceSpec, ...]:
    """The two devices, the sound one first."""
    return parse_devices(DEVICES)
