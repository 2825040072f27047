"""The table of a run's fields, shared by the command line, the form and config.toml."""

from __future__ import annotations

from .devices import AUTOTUNE, PIPELINES, PRECISIONS
from .fields import Choice, Field, Flag, Integer, Real, Text, WorkloadChoice
from .workloads import EPOCH_SAMPLES, NAMED_WORKLOADS

COMPARISON_MODES = ("turns", "together")
STEP_CHECKS = ("on", "off")
ALARMS = ("continue", "pause", "stop")
EARLIER_ALARMS = {"go on": "continue"}
"""Choices of earlier versions, still found in the configs of their runs."""
DATASETS = ("auto", "mnist", "embedded")

FIELDS: tuple[Field, ...] = (
    WorkloadChoice(
        "workload",
        "Workload",
        "the model that is trained",
        NAMED_WORKLOADS,
        about="The model, its loss and its optimizer. mnist is a small CNN that recognises digits, "
        "vae is the autoencoder that went wrong on MPS in the article. The others are a language "
        "model, a recurrent one, segmentation, a GAN and a ResNet. To train your own model, choose "
        "custom class and enter a Python file and a class in it; mpstui new writes one.",
    ),
    Choice(
        "dataset",
        "Dataset",
        "auto: the data folder's, else embedded",
        DATASETS,
        about="The digits to train on. embedded is 5,000 + 2,000 real MNIST digits that come with "
        "the program: enough to compare devices, without a network. mnist is all 70,000, read from "
        "the data folder, or downloaded once if they are not there. auto reads the data folder "
        "if you set one, and uses the embedded digits if not.",
    ),
    Text(
        "data_dir",
        "Data folder",
        "contains MNIST's four files",
        about="A folder that contains MNIST's four files, compressed or not, or torchvision's "
        "MNIST/raw folder. Leave it empty to train on the embedded digits. With dataset mnist "
        "and no folder, the program's own data folder is used.",
    ),
    Integer(
        "batch_size",
        "Batch size",
        "samples a training step",
        1,
        EPOCH_SAMPLES,
        about="How many samples go through the model before its weights change once. A GPU can "
        "do more in parallel with a larger batch, so its advantage over the CPU grows; training "
        "itself changes too. Keep the article's value to compare with the article.",
    ),
    Integer(
        "test_batch_size",
        "Test batch size",
        "samples a test step",
        1,
        EPOCH_SAMPLES,
        about="How many test samples go through the model at once after each epoch. It has no "
        "effect on what the model learns. Lower it when the device runs out of memory during the "
        "evaluation.",
    ),
    Integer(
        "epochs",
        "Epochs",
        "of 60,000 samples, or of own data",
        1,
        100_000,
        about="How long to train. An epoch of digits is 60,000 samples, so that times compare with "
        "the article's; of your own data it is the training set. One epoch is enough to see which "
        "device is faster; take more for a good model, or to see whether the losses stay together.",
    ),
    Integer(
        "steps",
        "Steps",
        "stop after this many; empty: all",
        1,
        10**9,
        optional=True,
        about="Ends the run after this many training steps, before its epochs are over. Leave it "
        "empty to train all epochs. A few hundred steps are a quick first try.",
    ),
    Real(
        "lr",
        "Learning rate",
        "the optimizer's step size",
        0.0,
        1e6,
        above=True,
        about="How far the optimizer moves the weights in each step. Too large, and the loss "
        "climbs or becomes nan; too small, and it hardly falls. The article's value fits its "
        "workload's optimizer: Adadelta takes 1.0, Adam 0.001.",
    ),
    Real(
        "gamma",
        "Gamma",
        "lr × gamma after each epoch",
        0.0,
        1.0,
        above=True,
        about="The learning rate is multiplied by this after each epoch, so that the steps get "
        "smaller during training. 1 leaves the learning rate unchanged.",
    ),
    Integer(
        "test_every",
        "Test every",
        "epochs between two tests",
        1,
        100_000,
        about="How many epochs are trained between two tests. The last epoch always ends with a "
        "test. Raise it when epochs are short and a test takes long.",
    ),
    Integer(
        "seed",
        "Seed",
        "weights, batch order, dropout",
        0,
        2**63 - 1,
        about="Where the random numbers start: first weights, order of the batches, dropout. Runs "
        "with the same seed start from the same weights and see the same batches. Change it to "
        "learn how much of a result is chance.",
    ),
    Integer(
        "log_interval",
        "Log interval",
        "steps between lines of the log",
        1,
        10**9,
        about="How many training steps are between two lines of the log, which looks like that of "
        "the article's script. Charts always show every step. In the reference pipeline a "
        "line also waits for the device, as in the script, which costs time.",
    ),
    Flag(
        "dry_run",
        "Dry run",
        "one training and one test step",
        about="Does one training step and one test step, then ends. A quick check that the model, "
        "the data and the device work together; it measures nothing.",
    ),
    Flag(
        "save_model",
        "Save model",
        "keep the weights in the run's folder",
        about="Saves the trained weights as checkpoints/model.pt in the run's folder, for "
        "torch.load and load_state_dict. Turn it on to use the model afterwards; a "
        "measurement needs no weights.",
    ),
    Choice(
        "pipeline",
        "Pipeline",
        "reference: the article's DataLoader",
        PIPELINES,
        about="How batches reach the device. resident holds all data there from the start, which "
        "is fastest. streamed leaves it on the host and copies batches ahead, for data that do "
        "not fit on the device. reference is the article's script unchanged, image by image; "
        "use it to compare with the article's times.",
    ),
    Choice(
        "precision",
        "Precision",
        "tf32: cuda only; bf16, fp16: autocast",
        PRECISIONS,
        about="The number format of the arithmetic. float32 is the safe one, and the one to "
        "compare devices in. bf16 and fp16 run most ops in half precision (torch.autocast) and "
        "can be faster on a GPU; tf32 rounds products on NVIDIA GPUs and is for cuda only.",
    ),
    Flag(
        "compile",
        "Compile",
        "torch.compile the model; slow to start",
        about="Compiles the model with torch.compile before training. The first steps take much "
        "longer, the later ones may be faster, so it pays in long runs only. Compile time is "
        "not counted.",
    ),
    Choice(
        "autotune",
        "Autotune",
        "find the fastest way; off: plain loop",
        AUTOTUNE,
        about="Before the first step, mpstui measures for a few seconds which way to do the same "
        "work is fastest here: memory layout, optimizer, threads. on stores the result for this "
        "machine, again measures anew, off trains with the plain loop, as a script would.",
    ),
    Choice(
        "mode",
        "Comparison",
        "together: at once, not for timing",
        COMPARISON_MODES,
        about="How the runs of a comparison share the machine. In turns, one trains for two "
        "seconds while the others wait, so that each is timed on its own. together "
        "trains all at the same time: good to watch, but they slow each other down.",
    ),
    Choice(
        "step_check",
        "Step check",
        "repeat a step on the CPU and compare",
        STEP_CHECKS,
        about="In a comparison, a run on any device but cpu takes its first step, and one after "
        "each epoch, on the CPU too: same weights, same batch, same random numbers. A difference "
        "beyond the CPU's own rounding is an alarm. The first and the last test are checked too. "
        "It takes as long as a few steps on the CPU and is not counted.",
    ),
    Choice(
        "on_alarm",
        "On alarm",
        "when a run goes wrong",
        ALARMS,
        EARLIER_ALARMS,
        about="What a run does when its loss becomes nan or infinite, or diverges from the "
        "comparison's first run, or when a step or a test differs from the CPU's. continue only "
        "marks the step, pause waits for you, stop ends the run with its summary.",
    ),
)

BY_NAME = {field.name: field for field in FIELDS}
