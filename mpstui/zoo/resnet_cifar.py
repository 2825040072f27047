"""A ResNet on pictures of 32 × 32, as CIFAR's: drawn stripes in ten directions, under noise.

Shows augmentation, accumulated gradients, a schedule of each epoch, and an average of the weights.
"""

from dataclasses import dataclass

import torch
from torch import optim
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.models.resnet import BasicBlock, ResNet


class Stripes(torch.utils.data.Dataset):
    def __len__(self):
        return 2000

    def __getitem__(self, index):
        angle = 0.314 * (index % 10) + 0.1 * torch.rand(())
        y, x = torch.arange(32.0)[:, None], torch.arange(32.0)
        waves = torch.sin(0.7 * (x * angle.cos() + y * angle.sin()) + 6.3 * torch.rand(()))
        return waves + torch.randn(3, 32, 32), index % 10


@dataclass
class ResnetCifar:
    accumulate: int = 2  # batches for an update
    decay: float = 0.98  # of the average of the weights
    lr: float = 0.05
    batches = 0

    def model(self):
        return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)

    def datasets(self):
        return Stripes(), torch.utils.data.Subset(Stripes(), range(200))

    def optimizers(self, model):
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(self.decay))
        return optim.SGD(model.parameters(), self.lr, momentum=0.9, weight_decay=5e-4)

    def schedulers(self, optimizer):
        return {"epoch": optim.lr_scheduler.ExponentialLR(optimizer, 0.9)}

    def step(self, model, batch, optimizers):
        loss = F.cross_entropy(model(batch[0]), batch[1])
        (loss / self.accumulate).backward()
        self.batches += 1
        if self.batches % self.accumulate == 0:
            optimizers[0].step()
            optimizers[0].zero_grad()
            self.average.update_parameters(model)
        return loss

    def score(self, model, images, labels):
        logits = self.average(images)
        answers = (logits.argmax(1) == labels).sum(), len(labels)
        return {"loss": F.cross_entropy(logits, labels), "accuracy": answers}
