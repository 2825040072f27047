from __future__ import annotations

from itertools import count

import torch

from mpstui.recording.copies import CopyTimer


def test_only_copies_between_devices_are_timed_and_torch_is_restored() -> None:
    before = {name: getattr(torch.Tensor, name) for name in ("to", "copy_", "item")}
    ticks = count()
    timer = CopyTimer(lambda: None, lambda: float(next(ticks)))
    x = torch.ones(3)
    timer.start()
    try:
        x.to(torch.float64)
        x.sum().item()
        x.copy_(torch.zeros(3))
        assert timer.seconds == 0.0
        x.to("meta")
        assert timer.seconds == 1.0
        torch.empty(3, device="meta").copy_(x)
        assert timer.seconds == 2.0
    finally:
        timer.stop()
    assert {name: getattr(torch.Tensor, name) for name in before} == before
    assert "to" not in vars(torch.Tensor)
