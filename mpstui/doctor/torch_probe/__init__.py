"""What torch says, asked in a process of its own, because asking can abort or hang that process.

``python -m mpstui.doctor.torch_probe facts`` prints a :class:`~mpstui.domain.facts.TorchFacts`, and
before and behind it two :class:`~mpstui.domain.facts.ImportFact` for each package: as its import
begins, and with what came of it. ``… use DEVICE`` prints a :class:`~mpstui.doctor.probes.Trial`.
Each is one line of JSON. Whatever torch or a driver prints goes to stderr.
"""
