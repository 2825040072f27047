"""A small GPT in the manner of nanoGPT: micro-batches, clipping, two groups, a cosine schedule."""

import math
import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch reads it

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1337)
block_size, vocab, width, steps, micro_batches = 16, 32, 24, 30, 2
data = torch.randint(vocab, (5000,))


def get_batch():
    ix = torch.randint(len(data) - block_size - 1, (8,))
    x = torch.stack([data[i : i + block_size] for i in ix])
    y = torch.stack([data[i + 1 : i + 1 + block_size] for i in ix])
    return x, y


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.qkv(self.ln(x)).split(width, dim=2)
        return x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.lm_head = nn.Linear(width, vocab, bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, idx, targets):
        x = self.wte(idx)
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(x)
        return logits, F.cross_entropy(logits.view(-1, vocab), targets.view(-1))


model = GPT()
decay = [p for p in model.parameters() if p.dim() >= 2]
nodecay = [p for p in model.parameters() if p.dim() < 2]
groups = [{"params": decay, "weight_decay": 0.1}, {"params": nodecay, "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, lr=1e-2)


@torch.no_grad()
def estimate_loss():
    model.eval()
    losses = [model(*get_batch())[1].item() for _ in range(4)]
    model.train()
    return sum(losses) / len(losses)


for step in range(steps):
    lr = 1e-2 * 0.5 * (1 + math.cos(math.pi * step / steps))
    for scale, group in zip((1.0, 0.5), optimizer.param_groups):
        group["lr"] = lr * scale
    if step % 10 == 0:
        print("val", estimate_loss())
    total = torch.zeros((), dtype=torch.float64)
    for _ in range(micro_batches):
        logits, loss = model(*get_batch())
        loss = loss / micro_batches
        loss.backward()
        total += loss.item()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    print("LOSS", repr(total.item()))
    print("LR", repr(lr))
    print("LR2", repr(lr * 0.5))
    print("NORM", repr(norm.item()))
