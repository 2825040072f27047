"""The torch probe, which runs in a separate process because it can abort or hang that process.

``python -m mpstui.doctor.torch_probe facts`` prints a :class:`~mpstui.domain.facts.TorchFacts`, and
before and after it two :class:`~mpstui.domain.facts.ImportFact` for each package: when its import
starts, and with the result. ``… use DEVICE`` prints a :class:`~mpstui.doctor.probes.DeviceTrial`.
Each is one line of JSON. Output of torch or a driver goes to stderr.
"""
