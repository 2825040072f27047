"""Scripts that know nothing of mpstui: what they print is what is recorded."""

from __future__ import annotations

import pytest

from mpstui.domain.history import RunState

from .runs import run, run_alone

MNIST = ("mnist.py", "--batch-size", "100")
VAE = ("vae.py", "--epochs", "2", "--device", "cpu")
PACKAGE = ("-m", "package.train", "--flag", "-x")
QUICK = [
    MNIST,
    ("gpt.py",),
    ("gan.py",),
    ("exits.py", "raise"),
    PACKAGE,
]
SLOW = [
    VAE,
    ("amp.py",),
    ("exits.py", "3"),
    ("loader_workers.py", "--start", "fork"),
    ("loader_workers.py", "--start", "spawn"),
    ("compiled.py",),
    ("progress_bar.py", "/tmp/mpstui-test-tensorboard"),
    ("exits.py", "text"),
    ("exits.py", "interrupt"),
    ("exits.py", "kill"),
]
ALL = [*QUICK, *(pytest.param(command, marks=pytest.mark.slow) for command in SLOW)]


@pytest.mark.parametrize("command", ALL, ids=lambda command: "-".join(command).replace("/", "_"))
def test_recorded_losses_are_the_printed_ones(command: tuple[str, ...]) -> None:
    result = run(*command)
    printed = result.printed()
    assert len(printed) >= 3, result.errors
    if command == ("exits.py", "kill"):  # no exit handler runs, so the newest steps may be lost
        printed = printed[: result.history.step]
    assert result.column("loss") == printed
    assert result.history.step == len(printed)
    assert "mpstui" not in result.output


def test_mnist_has_epochs_evaluations_rates_and_a_model() -> None:
    result = run(*MNIST)
    history = result.history
    assert (result.code, history.state) == (0, RunState.FINISHED)
    assert [(epoch.epoch, epoch.samples) for epoch in history.epochs] == [(1, 1000), (2, 1000)]
    assert history.started is not None
    assert (history.started.model, history.started.optimizers) == ("Net", ("Net",))
    assert history.started.parameters == 4 * 9 + 4 + 8 * 36 + 8 + 288 * 32 + 32 + 32 * 10 + 10
    assert (history.started.train_samples, history.started.steps_per_epoch) == (1000, 10)
    assert history.started.batch_size == 100
    assert history.evaluation_seconds > 0
    assert result.column("lr") == result.printed("LR")
    assert f"finished after {history.step} steps" in result.errors


@pytest.mark.slow
def test_the_vae_is_recorded_with_its_device_and_samples() -> None:
    result = run(*VAE)
    assert result.history.samples == 2000
    assert [epoch.samples for epoch in result.history.epochs] == [1000, 1000]
    assert result.history.started is not None
    assert result.history.started.device == "cpu"


def test_the_gpts_rates_and_norms_are_the_scripts() -> None:
    result = run("gpt.py")
    assert result.column("lr") == result.printed("LR")
    assert result.column("lr_2") == result.printed("LR2")
    norms = {float(f"{norm:.6g}") for norm in result.printed("NORM")}
    assert result.history.started is not None
    assert result.history.started.model == "GPT"
    recorded = result.history.series["gradient norm"]
    assert recorded.count
    assert recorded.last() in norms


def test_a_gan_has_a_series_for_each_network() -> None:
    result = run("gan.py")
    assert result.history.started is not None
    assert result.history.started.optimizers == ("netD", "netG")
    assert result.column("loss_netD") == result.printed()
    assert result.column("loss_netG") == result.printed("LOSS_netG")
    assert [epoch.samples for epoch in result.history.epochs] == [120] * 3


@pytest.mark.slow
def test_a_step_that_the_scaler_skips_is_noted() -> None:
    result = run("amp.py")
    assert "SKIPPED 7" in result.output
    assert result.column("skipped") == [1.0]


def test_a_module_has_its_package_and_arguments() -> None:
    result = run(*PACKAGE)
    assert result.code == 0, result.errors
    assert "ARGV ['--flag', '-x']" in result.output


@pytest.mark.slow
def test_an_exit_code_is_kept() -> None:
    result = run("exits.py", "3")
    assert (result.code, result.history.state) == (3, RunState.FAILED)
    assert result.traceback == ""


def test_a_traceback_is_complete_and_untouched() -> None:
    result, alone = run("exits.py", "raise"), run_alone("exits.py", "raise")
    assert result.code == alone.returncode == 1
    assert result.traceback == alone.stderr
    assert "During handling" in alone.stderr or "direct cause" in alone.stderr
    assert result.history.message == "ValueError: two (exits.py:29)"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["text", "interrupt", "kill", "backward"])
def test_an_end_is_as_without_mpstui(how: str) -> None:
    result, alone = run("exits.py", how), run_alone("exits.py", how)
    # A shell reports a signal as 128 more than its number.
    code = alone.returncode if alone.returncode >= 0 else 128 - alone.returncode
    assert result.code == code
    assert result.traceback == alone.stderr


@pytest.mark.slow
def test_a_loop_without_an_optimizer_says_that_nothing_was_recorded() -> None:
    result = run("by_hand.py")
    assert result.code == 0
    assert result.history.started is None
    assert "no optimizer step was seen" in result.errors


@pytest.mark.slow
def test_workers_leave_epochs_and_waiting_as_they_are() -> None:
    for start in ("fork", "spawn"):
        result = run("loader_workers.py", "--start", start)
        assert (result.code, [epoch.samples for epoch in result.history.epochs]) == (0, [40, 40])
        assert result.history.evaluation_seconds > 0


@pytest.mark.slow
def test_values_that_a_script_logs_are_series_and_its_own_loss_is_kept_apart() -> None:
    result = run("progress_bar.py", "/tmp/mpstui-test-tensorboard")
    assert "\r" in result.output
    assert "sum 45" in result.output
    assert result.column("Loss/train") == result.printed()
    assert result.column("script/loss") == result.printed()
