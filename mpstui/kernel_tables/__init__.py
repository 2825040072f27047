"""Which ops each released torch has kernels for, by device, as its wheels say. No torch here."""
