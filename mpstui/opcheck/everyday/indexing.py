"""Views, copies, joins, gathers and scatters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from mpstui.opcheck.inputs import Inputs

OPS: dict[str, Callable[[Inputs], Any]] = {
    "clone": lambda i: (i.x(6, 7).clone(), i.x(2, 3, 4, 5).clone()),
    "contiguous": lambda i: (i.x(6, 7).contiguous(), i.x(2, 3, 4, 5).contiguous()),
    "to-channels_last": lambda i: i.x(2, 3, 4, 5).contiguous(memory_format=torch.channels_last) * 2,
    "reshape": lambda i: (i.x(6, 8).reshape(4, 12), i.x(2, 3, 4, 5).reshape(2, -1)),
    "permute": lambda i: i.x(2, 3, 4, 5).permute(0, 2, 3, 1).contiguous(),
    "flatten": lambda i: i.x(2, 3, 4, 5).flatten(1) * 2,
    "transpose-add": lambda i: i.x(6, 6) + i.x(6, 6).t(),
    "expand-sum": lambda i: (i.x(1, 7).expand(5, 7) * i.x(5, 7)).sum(0),
    "select": lambda i: (i.x(6, 7)[2] * 2, i.x(6, 7)[:, 3] * 2),
    "slice-step": lambda i: i.x(6, 9)[1:5, ::2] * 2,
    "slice-iadd": lambda i: _iadd(i.writable(6, 7), i.x(6, 7)),
    "narrow": lambda i: i.x(6, 9).narrow(1, 2, 5).exp(),
    "cat": lambda i: torch.cat([i.x(3, 7), i.x(2, 7), i.dense(4, 7)]),
    "cat-channels": lambda i: torch.cat([i.x(2, 3, 4, 5), i.x(2, 2, 4, 5)], 1),
    "stack": lambda i: torch.stack([i.x(6, 7), i.dense(6, 7)], 1),
    "split": lambda i: tuple(part * 2 for part in torch.split(i.x(6, 9), [2, 3, 4], 1)),
    "chunk": lambda i: tuple(part.exp() for part in i.x(6, 8).chunk(2, 1)),
    "repeat": lambda i: i.x(3, 4).repeat(2, 3),
    "repeat_interleave": lambda i: i.x(3, 4).repeat_interleave(2, 0),
    "roll": lambda i: i.x(6, 7).roll((1, -2), (0, 1)),
    "flip": lambda i: i.x(6, 7).flip(0, 1),
    "unfold": lambda i: i.x(4, 9).unfold(1, 3, 2) * 2,
    "gather": lambda i: i.x(6, 7).gather(1, i.index(7, 6, 3)),
    "index_select": lambda i: i.x(6, 7).index_select(0, i.index(6, 9)),
    "index": lambda i: i.x(6, 7)[i.index(6, 5), i.index(7, 5)],
    "index-mask": lambda i: i.x(6, 7)[i.mask(6, 7)],
    "take_along_dim": lambda i: i.x(6, 7).take_along_dim(i.index(6, 3, 7), 0),
    "scatter": lambda i: i.writable(4, 9).scatter(1, _columns(i), i.x(4, 3)),
    "scatter_add": lambda i: i.writable(4, 9).scatter_add(1, i.index(9, 4, 6), i.x(4, 6)),
    "index_add": lambda i: i.writable(6, 7).index_add(0, i.index(6, 9), i.x(9, 7)),
    "index_put": lambda i: i.writable(6, 7).index_put((i.index(6, 9),), i.x(9, 7), accumulate=True),
    "index_copy": lambda i: i.writable(6, 7).index_copy(
        0, torch.arange(3, device=i.device), i.x(3, 7)
    ),
    "masked_scatter": lambda i: torch.masked_select(i.x(6, 7), i.mask(6, 7)),
    "embedding": lambda i: F.embedding(i.index(9, 3, 4), i.x(9, 5)),
    "embedding-padding": lambda i: F.embedding(i.index(9, 3, 4), i.x(9, 5), padding_idx=0),
    "embedding_bag": lambda i: F.embedding_bag(i.index(9, 3, 4), i.x(9, 5), mode="sum"),
    "one_hot": lambda i: F.one_hot(i.index(7, 3, 4), 7),
    "bincount": lambda i: torch.bincount(i.index(7, 40), minlength=7),
    "searchsorted": lambda i: torch.searchsorted(
        torch.arange(9, device=i.device, dtype=i.working), i.distinct(6, 5, grad=False)
    ),
    "nonzero": lambda i: i.mask(6, 7).nonzero(),
    "unique": lambda i: torch.unique(i.integers(0, 9, 6, 7)),
    "arange": lambda i: torch.arange(2, 40, 3, device=i.device, dtype=i.working) * i.dense(13),
    "linspace": lambda i: torch.linspace(-1, 1, 9, device=i.device, dtype=i.working) * i.dense(9),
    "meshgrid": lambda i: torch.meshgrid(i.x(2, 5)[0], i.dense(4), indexing="ij"),
    "pad": lambda i: (F.pad(i.x(2, 3, 4, 5), (1, 2, 0, 1)), F.pad(i.x(6, 7), (1, 1), value=3.0)),
    "pad-reflect": lambda i: F.pad(i.x(2, 3, 4, 5), (1, 1, 1, 1), mode="reflect"),
    "pad-replicate": lambda i: F.pad(i.x(2, 3, 4, 5), (1, 1, 1, 1), mode="replicate"),
}


def _columns(i: Inputs) -> torch.Tensor:
    # Each column only once: the order of two writes to one element is undefined.
    return torch.tensor([[0, 3, 8], [1, 2, 5], [7, 6, 4], [8, 0, 2]], device=i.device)


def _iadd(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a[:, 0] += b[:, 1]
    a[2:4] -= b[1:3]
    return a
