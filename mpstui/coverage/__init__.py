"""Which ops of a training step have a kernel for MPS: answered on any machine, from tables."""
