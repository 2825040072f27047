"""A causal language model of transformers' by type: ``--workload transformers:gpt2@width=64``.

The ``transformers`` package has to be installed. The model is built small, from its config class;
the weights are random, and nothing is downloaded. The text is torch's own source.
"""

import inspect
from dataclasses import dataclass

import torch
from torch import optim
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

IDS = torch.tensor(list(inspect.getsource(F).encode("ascii", "replace")))


@dataclass
class TransformersModel:
    width: int = 64  # size of the hidden states
    layers: int = 2  # hidden layers
    heads: int = 4  # attention heads
    context: int = 64  # characters in a sample
    batch_size: int = 16
    lr: float = 1e-3
    model_name = "gpt2"  # from the workload's name

    def model(self):
        sizes = {"hidden_size": self.width, "num_hidden_layers": self.layers}
        heads = {"num_attention_heads": self.heads, "num_key_value_heads": self.heads}
        config = AutoConfig.for_model(
            self.model_name, vocab_size=128, intermediate_size=4 * self.width, **sizes
        )
        for name, value in {**sizes, **heads}.items():
            if hasattr(config, name):
                setattr(config, name, value)
        config.max_position_embeddings = self.context
        config.bos_token_id = config.eos_token_id = config.pad_token_id = 0
        return AutoModelForCausalLM.from_config(config)

    def optimizer(self, model, config):
        return optim.AdamW(model.parameters(), self.lr)

    def datasets(self):
        windows = [{"input_ids": window} for window in IDS.split(self.context)[:-1]]
        return windows[:-100], windows[-100:]

    def objective(self, model, batch):
        return model(input_ids=batch["input_ids"], labels=batch["input_ids"]).loss
