"""What torch says, asked in a process of its own, because asking can abort or hang that process.

``python -m mpstui.doctor.torch_probe facts`` prints a
:class:`~mpstui.domain.facts.TorchFacts`, and ``… use DEVICE`` a
:class:`~mpstui.doctor.probes.Trial`, each as one line of JSON. Whatever torch or a driver prints
goes to stderr.
"""
