"""The Trainer of transformers, with a tiny model from a configuration and random tokens."""

import tempfile

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments


class Tokens(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        ids = torch.randint(50, (12,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": ids, "labels": ids}


class Printing(Trainer):
    total = 0.0

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        self.total += loss.item()
        return loss


class PrintLoss(TrainerCallback):
    def on_optimizer_step(self, args, state, control, **kwargs):
        print("LOSS", repr(trainer.total))
        trainer.total = 0.0


model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2))
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        num_train_epochs=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        eval_strategy="epoch",
        learning_rate=1e-3,
        report_to="none",
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        seed=1,
    )
    trainer = Printing(
        model, arguments, train_dataset=Tokens(), eval_dataset=Tokens(), callbacks=[PrintLoss()]
    )
    trainer.train()
