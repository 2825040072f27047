"""A progress bar, TensorBoard, a training in a thread, and a process of its own."""

import multiprocessing
import sys
import tempfile
import threading

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm


def count(queue):
    queue.put(sum(range(10)))


def train(writer):
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in tqdm(range(20), file=sys.stdout, ncols=60):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()
        writer.add_scalar("loss", loss, step)
        writer.add_scalar("Loss/train", loss.item(), step)
        tqdm.write(f"LOSS {loss.item()!r}")


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=count, args=(queue,))
    process.start()
    print("sum", queue.get())
    process.join()
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        thread = threading.Thread(target=train, args=(writer,))
        thread.start()
        thread.join()
