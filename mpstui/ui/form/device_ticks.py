"""The device picker's arithmetic: ticks and the typed list of specs, which say the same."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.doctor.refusal import refuse_reason
from mpstui.domain.devices import TYPES
from mpstui.domain.facts import DoctorFacts

ASKING = "asking torch which devices it has …"


def asking(facts: DoctorFacts | None) -> bool:
    """Whether torch has still to say which devices there are."""
    return facts is None or (facts.torch is None and facts.torch_state == "probing")


def offered(facts: DoctorFacts | None) -> tuple[str, ...]:
    """The devices to tick."""
    return ("cpu",) if facts is None else facts.trainable()


def why_not(facts: DoctorFacts | None) -> tuple[tuple[str, str], ...]:
    """What cannot be ticked, and why: device types with the same reason together."""
    if facts is None or asking(facts):
        return ()
    here = {device.partition(":")[0] for device in facts.trainable()}
    reasons: dict[str, list[str]] = {}
    for kind in TYPES:
        reason = refuse_reason(facts, kind, None) if kind not in here else None
        if reason is not None:
            reasons.setdefault(reason.removeprefix(f"{kind}: "), []).append(kind)
    return tuple((", ".join(kinds), reason) for reason, kinds in reasons.items())


def ticked(text: str, device: str) -> bool:
    """Whether a list of specs names a device, with options or without."""
    return bool(specs_on(text, device))


def specs_on(text: str, device: str) -> str:
    """The part of a list of specs that is about one device."""
    return ",".join(part for part in _parts(text) if _device(part) == _device(device))


def toggled(text: str, device: str, devices: Sequence[str], specs: str = "") -> str:
    """The list of specs with a device more, or with one less.

    Args:
        text: As it is typed, right or wrong; what it holds of other devices stays as it is.
        device: The device to add or to take out.
        devices: All that are offered; an added one comes before those that follow it there, so
            that the CPU stays what the others are compared with.
        specs: What to add for the device, as it stood there before; empty for the device alone.
    """
    parts = _parts(text)
    if ticked(text, device):
        return ",".join(part for part in parts if _device(part) != _device(device))
    order = [_device(name) for name in devices]
    later = order[order.index(_device(device)) + 1 :]
    place = next((i for i, part in enumerate(parts) if _device(part) in later), len(parts))
    return ",".join((*parts[:place], specs or device, *parts[place:]))


def hint(facts: DoctorFacts | None, chosen: int) -> str:
    """What stands beside the devices when nothing is wrong with them.

    Args:
        facts: What is known so far.
        chosen: How many devices are chosen.
    """
    if facts is None or asking(facts):
        return ASKING
    if facts.torch is None:
        unknown = f"which devices there are is not known: {facts.torch_error}"
        return refuse_reason(facts, "cpu", None) or unknown
    if chosen > 1:
        return f"{chosen} runs side by side: same weights, batches, seed"
    if len(offered(facts)) > 1:
        return "one run; a second device makes it a comparison"
    return "no accelerator here; add cpu@threads=1 for a comparison"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _device(spec: str) -> str:
    """The device of a spec; torch's ``cuda`` is ``cuda:0``."""
    return spec.partition("@")[0].strip().removesuffix(":0")
