"""Lightning needs no callback."""

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

import mpstui


class Sum(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(8, 1)

    def training_step(self, batch, index):
        return torch.nn.functional.mse_loss(self.net(batch[0]), batch[0].sum(1, keepdim=True))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


with mpstui.record("lightning"):
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, barebones=True)
    trainer.fit(Sum(), DataLoader(TensorDataset(torch.randn(320, 8)), batch_size=16))
