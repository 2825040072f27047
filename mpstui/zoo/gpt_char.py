"""A character GPT that learns Python's syntax from torch's own source text.

Shows settings, batches that are dicts, parameter groups, a schedule of each step, and a score.
"""

import inspect
from dataclasses import dataclass

import torch
from torch import nn, optim
from torch.nn import functional as F

IDS = torch.tensor(list(inspect.getsource(F).encode("ascii", "replace")))


class Gpt(nn.Module):
    def __init__(self, width, layers, context):
        super().__init__()
        self.token, self.place = nn.Embedding(128, width), nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width))

    def forward(self, ids):
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1], device=ids.device)
        hidden = self.token(ids) + self.place.weight[: ids.shape[1]]
        return self.blocks(hidden, mask, is_causal=True) @ self.token.weight.T / 8


@dataclass
class GptChar:
    width: int = 64  # size of an embedding, a multiple of 4
    layers: int = 2  # transformer blocks
    context: int = 64  # characters in a sample
    batch_size: int = 32
    lr: float = 3e-3

    def model(self):
        return Gpt(self.width, self.layers, self.context)

    def datasets(self):
        windows = IDS.split(self.context)[:-1]  # the last one is shorter
        rows = [{"ids": window[:-1], "next": window[1:]} for window in windows]
        return rows[:-200], rows[-200:]

    def objective(self, model, batch):
        return F.cross_entropy(model(batch["ids"]).mT, batch["next"])

    def optimizer(self, model, config):
        matrices, others = ([p for p in model.parameters() if (p.dim() > 1) == m] for m in (1, 0))
        self.steps = config.total_steps + 1
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others}]
        return optim.AdamW(groups, self.lr, weight_decay=0.0)

    def schedulers(self, optimizer):
        return {"step": optim.lr_scheduler.OneCycleLR(optimizer, self.lr, self.steps)}

    def score(self, model, batch):
        right = model(batch["ids"]).argmax(2) == batch["next"]
        return {"loss": self.objective(model, batch), "accuracy": (right.sum(), right.numel())}
