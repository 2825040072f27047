"""Two optimizers, closures, micro-batches, clipping, evaluation, workers and a compiled model."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def main():
    torch.manual_seed(0)
    generator, critic = nn.Linear(2, 4), torch.compile(nn.Linear(4, 1))
    first = torch.optim.AdamW(critic.parameters())
    second = torch.optim.LBFGS(generator.parameters(), max_iter=3)
    scaler = torch.amp.GradScaler("cpu")
    data = TensorDataset(torch.randn(32, 4))
    loader = DataLoader(data, batch_size=8, num_workers=1, multiprocessing_context="fork")
    for (real,) in loader:
        first.zero_grad()
        for part in real.chunk(2):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                fake = generator(torch.randn(len(part), 2)).detach()
                loss = F.softplus(-critic(part)).mean() + F.softplus(critic(fake)).mean()
            scaler.scale(loss / 2).backward()
        scaler.unscale_(first)
        nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
        scaler.step(first)
        scaler.update()

        def closure():
            second.zero_grad()
            torch.manual_seed(1)
            loss = F.softplus(-critic(generator(torch.randn(8, 2)))).mean()
            loss.backward()
            return loss

        second.step(closure)
        with torch.inference_mode():
            critic(real)


if __name__ == "__main__":
    main()
