"""The device picker's logic: ticks and the typed list of specs, which stay in step."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.doctor.refusal import refuse_reason
from mpstui.domain.devices import TYPES, DeviceSpec
from mpstui.domain.facts import DoctorFacts

ASKING = "asking torch which devices it has …"


def is_probing(facts: DoctorFacts | None) -> bool:
    """Return whether the torch probe has yet to report the devices."""
    return facts is None or (facts.torch is None and facts.torch_state == "probing")


def selectable_devices(facts: DoctorFacts | None) -> tuple[str, ...]:
    """Return the devices that can be ticked."""
    return ("cpu",) if facts is None else facts.trainable()


def unavailable_devices(facts: DoctorFacts | None) -> tuple[tuple[str, str], ...]:
    """Return device types that cannot be ticked, with reasons; types with one reason together."""
    if facts is None or is_probing(facts):
        return ()
    trainable_types = {device.partition(":")[0] for device in facts.trainable()}
    reasons: dict[str, list[str]] = {}
    for kind in TYPES:
        reason = refuse_reason(facts, kind, None) if kind not in trainable_types else None
        if reason is not None:
            reasons.setdefault(reason.removeprefix(f"{kind}: "), []).append(kind)
    return tuple((", ".join(kinds), reason) for reason, kinds in reasons.items())


def names_device(text: str, device: str) -> bool:
    """Return whether a list of specs names a device, with options or without."""
    return bool(specs_on(text, device))


def specs_on(text: str, device: str) -> str:
    """Return the specs of one device in a list of specs."""
    return ",".join(part for part in _parts(text) if _device(part) == _device(device))


def toggle_device(text: str, device: str, devices: Sequence[str], specs: str = "") -> str:
    """Add a device to a list of specs, or remove it.

    Args:
        text: The list as typed, valid or not; the specs of other devices stay unchanged.
        device: The device to add or remove.
        devices: All offered devices; an added one comes before those that follow it there, so
            that the CPU stays the reference of the comparison.
        specs: The device's earlier specs to restore; empty to add the device without options.
    """
    parts = _parts(text)
    if names_device(text, device):
        return ",".join(part for part in parts if _device(part) != _device(device))
    order = [_device(name) for name in devices]
    later = order[order.index(_device(device)) + 1 :]
    place = next((i for i, part in enumerate(parts) if _device(part) in later), len(parts))
    return ",".join((*parts[:place], specs or device, *parts[place:]))


def hint(facts: DoctorFacts | None, specs: Sequence[DeviceSpec]) -> str:
    """Return the note beside the devices when they are valid.

    Args:
        facts: The facts so far.
        specs: The selected devices.
    """
    if facts is None or is_probing(facts):
        return ASKING
    if facts.torch is None:
        unknown = f"which devices there are is not known: {facts.torch_error}"
        return refuse_reason(facts, "cpu", None) or unknown
    if len(specs) > 1:
        has_settings = any(spec.settings for spec in specs)
        common = "settings of their own" if has_settings else "same weights, batches, seed"
        return f"{len(specs)} runs side by side: {common}"
    if len(selectable_devices(facts)) > 1:
        return "one run; a second device makes it a comparison"
    return "no accelerator here; add cpu@threads=1 for a comparison"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _device(spec: str) -> str:
    """Return the device of a spec; torch's ``cuda`` is ``cuda:0``."""
    return spec.partition("@")[0].strip().removesuffix(":0")
