"""A classifier of torchvision's by name: ``--workload torchvision:resnet18@size=64,classes=10``."""

from dataclasses import dataclass

import torch
import torchvision
from torch import nn, optim
from torch.nn import functional as F
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import v2


@dataclass
class TorchvisionModel:
    size: int = 64  # side of the pictures
    classes: int = 10  # number of classes
    data: str = "digits"  # digits, fake, or a folder with a folder of pictures for each class
    batch_size: int = 32
    test_batch_size: int = 100
    lr: float = 0.01
    model_name = "resnet18"  # from the workload's name

    def model(self):
        model = torchvision.models.get_model(self.model_name, num_classes=self.classes)
        if getattr(model, "transform_input", False):
            model.transform_input = False
        return model

    def optimizer(self, model, config):
        return optim.SGD(model.parameters(), self.lr, momentum=0.9)

    def datasets(self):
        if self.data == "digits":
            return None  # MNIST's
        convert = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
        if self.data == "fake":
            shape = (3, self.size, self.size)
            sets = [FakeData(count, shape, self.classes, convert) for count in (2000, 200)]
            return sets
        steps = v2.Compose([v2.Resize(self.size), v2.CenterCrop(self.size), convert])
        images = ImageFolder(self.data, steps)
        order = torch.randperm(len(images)).tolist()
        parts = order[len(order) // 10 :], order[: len(order) // 10]
        return [torch.utils.data.Subset(images, part) for part in parts]

    def logits(self, model, images):
        if images.shape[1] == 1:  # grey digits of 28 × 28
            images = F.interpolate(images.expand(-1, 3, -1, -1), (self.size, self.size))
        outputs = model(images)
        return outputs if isinstance(outputs, torch.Tensor) else outputs[0]

    def objective(self, model, images, labels):
        return nn.functional.cross_entropy(self.logits(model, images), labels)

    def score(self, model, images, labels):
        logits = self.logits(model, images)
        answers = (logits.argmax(1) == labels).sum(), len(labels)
        return {"loss": F.cross_entropy(logits, labels), "accuracy": answers}
