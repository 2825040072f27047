"""Two workers that load the data, forked or spawned; evaluation without ``model.eval()``."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.full((4,), float(index)), torch.tensor([index / 40])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--start", choices=["fork", "spawn"], default="fork")
    start = parser.parse_args().start
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9)
    loader = DataLoader(
        Numbers(),
        batch_size=8,
        shuffle=True,
        num_workers=2,
        multiprocessing_context=start,
        persistent_workers=True,
    )
    validation = DataLoader(Numbers(), batch_size=20)
    for _ in range(2):
        for x, y in loader:
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print("LOSS", repr(loss.item()))
        with torch.no_grad():
            print(sum(nn.functional.mse_loss(model(x), y).item() for x, y in validation))


if __name__ == "__main__":
    main()
