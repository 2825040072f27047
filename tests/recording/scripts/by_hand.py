"""A loop without an optimizer: there is no step to record."""

import torch

weight = torch.zeros(3, requires_grad=True)
for _ in range(5):
    loss = (torch.randn(8, 3) @ weight - 1).pow(2).mean()
    loss.backward()
    with torch.no_grad():
        weight -= 0.1 * weight.grad
        weight.grad = None
