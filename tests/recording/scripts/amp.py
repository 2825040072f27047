"""Mixed precision with a gradient scaler, and a step that it skips."""

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
for step in range(1, 21):
    x, y = torch.randn(16, 8), torch.randn(16, 1)
    if step == 7:
        x[0, 0] = 1e38  # its gradient overflows, its loss does not
        y[0] = 1e18
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = nn.functional.smooth_l1_loss(model(x).float(), y)
    before = scaler.get_scale()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    print("LOSS", repr(loss.item()))
    if scaler.get_scale() < before:
        print("SKIPPED", step)
