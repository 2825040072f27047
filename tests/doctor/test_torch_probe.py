"""The probe's text handling, and one real run of each question on this machine."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.doctor.probes import NOT_BUILT
from mpstui.doctor.system import SystemProbes
from mpstui.doctor.torch_probe.attempt import first_sentence
from mpstui.doctor.torch_probe.types import KNOWN_TYPES, device_types

MESSAGE = "Expected one of {} device type at start of device string: nosuchdevice"


@given(st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True), min_size=1, unique=True))
def test_every_named_type_is_read(names: list[str]) -> None:
    assert device_types(MESSAGE.format(", ".join(names))) == tuple(names)


@given(st.text())
def test_an_unknown_form_falls_back_to_the_known_types(text: str) -> None:
    assert device_types(f"Invalid device string: {text!r}") == KNOWN_TYPES


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and "
            "installed a driver from http://www.nvidia.com/Download/index.aspx",
            "Found no NVIDIA driver on your system",
        ),
        (
            "The NVIDIA driver on your system is too old (found version 11040). Please update",
            "The NVIDIA driver on your system is too old (found version 11040)",
        ),
        (
            "Torch 2.14.1 not compiled with XPU enabled",
            "Torch 2.14.1 not compiled with XPU enabled",
        ),
        ("CUDA error: out of memory\nCompile with X", "CUDA error: out of memory"),
        ("Supported on MacOS 14.0+. Current OS", "Supported on MacOS 14.0+"),
        ("", ""),
    ],
)
def test_the_first_sentence_is_kept(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


@given(st.text())
def test_a_reason_is_always_one_short_line(text: str) -> None:
    sentence = first_sentence(text)
    assert len(sentence) <= 200
    assert len(sentence.splitlines()) <= 1


def test_facts_of_this_machine() -> None:
    facts = SystemProbes().torch_facts()
    by_name = {fact.device: fact for fact in facts.devices}
    assert facts.devices[0].device == "cpu"
    assert by_name["cpu"].available
    assert by_name["cpu"].usable is None
    assert by_name["meta"].usable is False
    assert {fact.type for fact in facts.devices} >= {"cpu", "cuda", "mps", "xpu", "meta"}
    assert facts.threads >= 1
    assert facts.import_seconds > 0
    for fact in facts.devices:
        assert fact.reason or (fact.built and fact.available), fact
    if sys.platform != "darwin":
        assert (by_name["mps"].built, by_name["mps"].reason) == (False, NOT_BUILT)


def test_the_cpu_of_this_machine_is_usable() -> None:
    trial = SystemProbes().use("cpu")
    assert (trial.device, trial.usable, trial.reason) == ("cpu", True, "")
    assert trial.milliseconds is not None
    assert trial.milliseconds > 0


def test_a_device_that_computes_wrongly_is_not_usable() -> None:
    # Simulated: the copy that goes to the device has one weight tensor a tenth too large.
    script = (
        "import copy, sys; from mpstui.doctor.torch_probe import __main__ as probe\n"
        "real = copy.deepcopy\n"
        "def wrong(model):\n"
        "    twin = real(model); twin[0].weight.data.mul_(1.1)\n"
        "    return twin\n"
        "copy.deepcopy = wrong\n"
        "sys.exit(probe.main(['use', 'cpu']))"
    )
    trial = SystemProbes((sys.executable, "-c", script)).use("cpu")
    assert not trial.usable
    assert "differs from the CPU's by" in trial.reason
    assert trial.milliseconds is None


def test_what_others_print_does_not_reach_the_answer() -> None:
    script = (
        "import os, sys; from mpstui.doctor.torch_probe import __main__ as probe\n"
        "from mpstui.doctor.probes import DeviceTrial\n"
        "def noisy(device):\n"
        "    print('hello'); os.write(1, b'from C\\n')\n"
        "    return DeviceTrial(device=device, usable=True)\n"
        "probe.usage.use = noisy\n"
        "sys.exit(probe.main(['use', 'cpu']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith('{"device":"cpu"')
    assert "hello" in done.stderr
    assert "from C" in done.stderr


def test_importing_the_doctor_imports_neither_torch_nor_numpy() -> None:
    script = (
        "import sys, mpstui.doctor.probes, mpstui.doctor.checks, mpstui.doctor.report\n"
        "import mpstui.telemetry.system\n"
        "sys.exit(' '.join({'torch', 'numpy', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == ""
