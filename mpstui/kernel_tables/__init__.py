"""Tables of the ops that each released torch has kernels for, from its wheels, without torch."""
