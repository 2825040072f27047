"""An LSTM whose hidden state goes from one batch to the next, on a text read in order.

Shows own loaders, whose order is theirs, a whole step with clipping, and state that is saved.
"""

import inspect
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

IDS = torch.tensor(list(inspect.getsource(F).encode("ascii", "replace")))


class Lstm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.token, self.head = nn.Embedding(128, width), nn.Linear(width, 128)
        self.lstm = nn.LSTM(width, width, 2, batch_first=True, dropout=0.1)

    def forward(self, ids, hidden=None):
        outputs, hidden = self.lstm(self.token(ids), hidden)
        return self.head(outputs), hidden


@dataclass
class LstmText:
    width: int = 128  # size of the embedding and of the hidden state
    length: int = 32  # characters until gradients are cut
    rows: int = 32  # texts that are read side by side
    clip: float = 1.0  # largest norm of the gradients
    lr: float = 2e-3
    hidden = None

    def model(self):
        return Lstm(self.width)

    def loaders(self):
        ids = IDS[: len(IDS) // self.rows * self.rows].view(self.rows, -1)  # a row goes on
        inputs, targets = (part.split(self.length, 1) for part in (ids[:, :-1], ids[:, 1:]))
        batches = list(zip(inputs, targets, strict=True))
        return batches[:-20], batches[-20:]

    def step(self, model, batch, optimizers):
        ids, targets = batch
        optimizers[0].zero_grad()
        logits, hidden = model(ids, self.hidden)
        self.hidden = tuple(part.detach() for part in hidden)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        optimizers[0].step()
        return loss, {"unclipped norm": norm}

    def score(self, model, batch):
        logits, _ = model(batch[0])
        loss = F.cross_entropy(logits.flatten(0, 1), batch[1].flatten())
        return {"loss": loss, "bits per character": loss / 0.6931472}
