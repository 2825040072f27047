"""Hugging Face's Trainer needs no callback; the model comes from a configuration."""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import mpstui

model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2))
tokens = [torch.randint(50, (12,)) for _ in range(80)]
data = [{"input_ids": ids, "labels": ids} for ids in tokens]
options = {"per_device_train_batch_size": 4, "report_to": "none", "use_cpu": True}
with mpstui.record("trainer"), tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(folder, num_train_epochs=2, save_strategy="no", **options)
    Trainer(model, arguments, train_dataset=data).train()
