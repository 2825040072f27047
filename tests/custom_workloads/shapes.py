"""Small workloads, one for each form of the class: whole steps, schedulers, collate, loaders."""

import copy
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset

REAL_OR_NOT = F.binary_cross_entropy_with_logits


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 24), nn.ReLU(), nn.Linear(24, 10))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 784), nn.Sigmoid())
        self.d = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.Tanh(), nn.Linear(32, 1))


class Gan:
    """A whole step with two updates; the second one's loss uses the first one's weights."""

    def model(self) -> nn.Module:
        return Pair()

    def optimizers(self, model: Any) -> Any:
        parts = (model.d, model.g)
        return [torch.optim.Adam(part.parameters(), lr=1e-3, foreach=False) for part in parts]

    def step(self, model: Any, batch: Any, optimizers: Any) -> Any:
        images, _ = batch
        of_d, of_g = optimizers
        real, fake = torch.ones(len(images), 1), torch.zeros(len(images), 1)
        pictures = model.g(torch.randn(len(images), 8))
        of_d.zero_grad()
        d = REAL_OR_NOT(model.d(images), real) + REAL_OR_NOT(model.d(pictures.detach()), fake)
        torch.autograd.backward(d)
        of_d.step()
        of_g.zero_grad()
        g = REAL_OR_NOT(model.d(pictures), real)
        torch.autograd.backward(g)
        of_g.step()
        return d + g, {"d": d, "g": g}

    def score(self, model: Any, batch: Any) -> Any:
        logits = model.d(batch[0])
        real = (logits > 0).sum(), logits.numel()
        return {"loss": REAL_OR_NOT(logits, torch.ones_like(logits)), "taken for real": real}


class Accumulate:
    """An update every third step, a schedule for each step, and a counter of its own."""

    def __init__(self) -> None:
        self.count = 0

    def model(self) -> nn.Module:
        return net()

    def optimizer(self, model: nn.Module, config: Any) -> Any:
        return torch.optim.AdamW(model.parameters(), lr=config.lr)

    def schedulers(self, optimizer: Any) -> Any:
        return {"step": [torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=100)]}

    def step(self, model: nn.Module, batch: Any, optimizers: Any) -> Any:
        images, labels = batch
        loss = F.cross_entropy(model(images), labels)
        torch.autograd.backward(loss / 3)
        self.count += 1
        if self.count % 3 == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizers[0].step()
            optimizers[0].zero_grad()
        return loss

    def score(self, model: nn.Module, images: Tensor, labels: Tensor) -> Any:
        output = model(images)
        right = (output.argmax(1) == labels).sum(), len(labels)
        confidence = output.softmax(1).amax(1).mean()
        loss = F.cross_entropy(output, labels)
        return {"loss": loss, "accuracy": right, "confidence": confidence}


class Ema:
    """An average of the weights, which the test uses, with state_dict and load_state_dict."""

    def model(self) -> nn.Module:
        model = net()
        self.average = copy.deepcopy(model).requires_grad_(False)
        return model

    def objective(self, model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def optimizer(self, model: nn.Module) -> Any:
        return torch.optim.SGD(model.parameters(), lr=0.1)

    def schedulers(self, optimizer: Any) -> Any:
        return {"epoch": torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)}

    def step(self, model: nn.Module, batch: Any, optimizers: Any) -> Any:
        optimizers[0].zero_grad()
        loss = self.objective(model, batch)
        torch.autograd.backward(loss)
        optimizers[0].step()
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), model.parameters(), strict=True):
                mean.lerp_(weight, 0.1)
            distance = sum(
                (mean - weight).square().sum()
                for mean, weight in zip(self.average.parameters(), model.parameters(), strict=True)
            )
        return {"loss": loss, "distance": distance}

    def score(self, model: nn.Module, batch: Any) -> Any:
        return {"loss": F.cross_entropy(self.average(batch[0]), batch[1])}

    def state_dict(self) -> Any:
        return {"average": self.average.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        self.average.load_state_dict(state["average"])


class Cosine:
    """An objective with schedulers; a plan may execute it."""

    def model(self) -> nn.Module:
        return net()

    def objective(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels)

    def optimizer(self, model: nn.Module) -> Any:
        return torch.optim.Adam(model.parameters(), lr=1e-3)

    def schedulers(self, optimizer: Any) -> Any:
        return {"step": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)}


class Hooked(Cosine):
    """A schedule for each step that only a hook of the optimizer advances."""

    schedulers = None  # type: ignore[assignment]

    def optimizer(self, model: nn.Module) -> Any:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=100)
        optimizer.register_step_post_hook(lambda *_: schedule.step())
        self.schedule = schedule
        return optimizer


class Hidden(Cosine):
    """A hidden state that the objective passes on, and a counter in the module."""

    schedulers = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.last: Tensor | None = None

    def objective(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        output = model(images)
        loss = F.cross_entropy(output + (0 if self.last is None else self.last), labels)
        self.last = output.detach().mean(0)
        return loss


class Mixup(Cosine):
    """NumPy's and Python's random numbers in the objective."""

    def objective(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        share, order = np.random.beta(0.4, 0.4), torch.randperm(len(images))
        output = model(share * images + (1 - share) * images[order] + 0.1 * random.random())
        mixed = share * F.cross_entropy(output, labels)
        return mixed + (1 - share) * F.cross_entropy(output, labels[order])


class Closure(Cosine):
    """An optimizer that evaluates the loss several times a step."""

    schedulers = None  # type: ignore[assignment]

    def optimizer(self, model: nn.Module) -> Any:
        return torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)


class Sentences(Dataset[Any]):
    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> Any:
        return torch.randint(1, 40, (3 + index % 9,)), index % 2


def pad(items: list[Any]) -> dict[str, Tensor]:
    ids = nn.utils.rnn.pad_sequence([ids for ids, _ in items], batch_first=True)
    return {"ids": ids, "labels": torch.tensor([label for _, label in items])}


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.EmbeddingBag(40, 8, padding_idx=0), nn.Linear(8, 2)

    def forward(self, ids: Tensor) -> Any:
        return self.head(self.table(ids))


class Padded:
    """Items of different lengths, a dict as the batch."""

    def model(self) -> nn.Module:
        return Text()

    def datasets(self) -> Any:
        return Sentences(), Sentences()

    def collate(self, items: list[Any]) -> Any:
        return pad(items)

    def objective(self, model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch["ids"]), batch["labels"])


class Loaders:
    """Loaders of its own: order and batches are theirs."""

    def model(self) -> nn.Module:
        return Text()

    def loaders(self) -> Any:
        return [
            DataLoader(Sentences(), batch_size=16, collate_fn=pad, shuffle=shuffle)
            for shuffle in (True, False)
        ]

    def objective(self, model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch["ids"]), batch["labels"])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        while True:
            values = torch.randn(8)
            yield values, values.sum()


class Streaming:
    """A stream without a length."""

    steps_per_epoch = 4
    test_steps = 2

    def model(self) -> nn.Module:
        return nn.Linear(8, 1)

    def objective(self, model: nn.Module, values: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(model(values)[:, 0], target)

    def datasets(self) -> Any:
        return Stream(), Stream()
