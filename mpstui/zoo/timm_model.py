"""An image classifier of timm's by name: ``--workload timm:resnet18@size=64,classes=10``.

The ``timm`` package has to be installed. The weights are random; nothing is downloaded.
"""

from dataclasses import dataclass

import timm
from torch import optim
from torch.nn import functional as F


@dataclass
class TimmModel:
    size: int = 64  # side of the pictures
    classes: int = 10  # number of classes
    batch_size: int = 32
    test_batch_size: int = 100
    lr: float = 1e-3
    model_name = "resnet18"  # from the workload's name

    def model(self):
        options = {"pretrained": False, "num_classes": self.classes}
        try:
            return timm.create_model(self.model_name, img_size=self.size, **options)
        except TypeError:  # a model for pictures of any size
            return timm.create_model(self.model_name, **options)

    def optimizer(self, model, config):
        return optim.AdamW(model.parameters(), self.lr)

    def logits(self, model, images):
        return model(F.interpolate(images.expand(-1, 3, -1, -1), (self.size, self.size)))

    def objective(self, model, images, labels):
        return F.cross_entropy(self.logits(model, images), labels)

    def score(self, model, images, labels):
        logits = self.logits(model, images)
        answers = (logits.argmax(1) == labels).sum(), len(labels)
        return {"loss": F.cross_entropy(logits, labels), "accuracy": answers}
