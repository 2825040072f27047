"""Layers: convolution, pooling, normalisation, losses, recurrent layers, optimizer steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from mpstui.opcheck.inputs import Inputs


def _norm(i: Inputs) -> Any:
    return F.batch_norm(i.x(4, 3, 5, 5), None, None, i.positive(3), i.dense(3), training=True)


def _norm_eval(i: Inputs) -> Any:
    mean, variance = i.dense(3, grad=False), i.positive(3, grad=False)
    return F.batch_norm(i.x(4, 3, 5, 5), mean, variance, i.positive(3), i.dense(3))


def _lstm(i: Inputs) -> Any:
    return _recurrent(torch.nn.LSTM(4, 5, num_layers=2), i)


def _gru(i: Inputs) -> Any:
    return _recurrent(torch.nn.GRU(4, 5), i)


def _recurrent(net: torch.nn.LSTM | torch.nn.GRU, i: Inputs) -> Any:
    net = net.to(i.device, i.working)
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(i.dense(*weight.shape, grad=False) / 3)
    i.leaves += net.parameters()
    return net(i.x(6, 3, 4))[0]


def _optimizer_steps(make: Callable[[list[torch.Tensor]], torch.optim.Optimizer]) -> Any:
    def run(i: Inputs) -> Any:
        weights = [i.writable(6, 7), i.writable(2, 3, 4, 5)]
        optimizer = make(weights)
        for _ in range(3):
            for weight in weights:
                weight.grad = i.like(weight)
            optimizer.step()
        return tuple(weights)

    return run


# The default of 1e-8 is zero in float16, and a small gradient's square too: 0 / 0 on any device.
_EPS = 1e-3

OPS: dict[str, Callable[[Inputs], Any]] = {
    "conv1d": lambda i: F.conv1d(i.x(2, 3, 9), i.dense(4, 3, 3), i.dense(4), padding=1),
    "conv2d": lambda i: F.conv2d(i.x(2, 3, 7, 7), i.x(4, 3, 3, 3), i.dense(4)),
    "conv2d-stride": lambda i: F.conv2d(i.x(2, 3, 8, 8), i.x(4, 3, 3, 3), stride=2, padding=1),
    "conv2d-dilated": lambda i: F.conv2d(i.x(2, 3, 8, 8), i.x(4, 3, 3, 3), dilation=2),
    "conv2d-1x1": lambda i: F.conv2d(i.x(2, 3, 5, 5), i.x(4, 3, 1, 1), i.dense(4)),
    "conv2d-depthwise": lambda i: F.conv2d(i.x(2, 4, 6, 6), i.dense(4, 1, 3, 3), groups=4),
    "conv2d-groups": lambda i: F.conv2d(i.x(2, 4, 6, 6), i.dense(6, 2, 3, 3), groups=2),
    "conv_transpose2d": lambda i: F.conv_transpose2d(
        i.x(2, 3, 5, 5), i.x(3, 4, 3, 3), i.dense(4), stride=2
    ),
    "max_pool1d": lambda i: F.max_pool1d(i.distinct(2, 3, 8), 2),
    "max_pool2d": lambda i: F.max_pool2d(i.distinct(2, 3, 6, 6), 2),
    "max_pool2d-overlap": lambda i: F.max_pool2d(i.distinct(2, 2, 7, 7), 3, stride=2, padding=1),
    "avg_pool2d": lambda i: F.avg_pool2d(i.x(2, 3, 6, 6), 2),
    "adaptive_avg_pool2d": lambda i: F.adaptive_avg_pool2d(i.x(2, 3, 6, 6), (2, 3)),
    "global_avg_pool2d": lambda i: F.adaptive_avg_pool2d(i.x(2, 3, 6, 6), 1),
    "adaptive_max_pool2d": lambda i: F.adaptive_max_pool2d(i.distinct(2, 3, 6, 6), (2, 3)),
    "interpolate-nearest": lambda i: F.interpolate(i.x(2, 3, 4, 5), scale_factor=2),
    "interpolate-bilinear": lambda i: F.interpolate(
        i.x(2, 3, 4, 5), size=(7, 9), mode="bilinear", align_corners=False
    ),
    "pixel_shuffle": lambda i: F.pixel_shuffle(i.x(2, 8, 3, 3), 2),
    "im2col": lambda i: F.unfold(i.x(2, 3, 5, 5), 3),
    "batch_norm": _norm,
    "batch_norm-eval": _norm_eval,
    "layer_norm": lambda i: F.layer_norm(i.x(6, 8), (8,), i.positive(8), i.dense(8)),
    "layer_norm-frozen": lambda i: F.layer_norm(
        i.x(6, 8, grad=False), (8,), i.positive(8), i.dense(8)
    ),
    "group_norm": lambda i: F.group_norm(i.x(2, 4, 5, 5), 2, i.positive(4), i.dense(4)),
    "instance_norm": lambda i: F.instance_norm(i.x(2, 3, 5, 5)),
    "rms_norm": lambda i: F.rms_norm(i.x(6, 8), (8,), i.positive(8)),
    "mse_loss": lambda i: F.mse_loss(i.x(6, 7), i.x(6, 7, grad=False)),
    "l1_loss": lambda i: F.l1_loss(i.x(6, 7), i.x(6, 7, grad=False)),
    "smooth_l1_loss": lambda i: F.smooth_l1_loss(i.x(6, 7), i.x(6, 7, grad=False)),
    "huber_loss": lambda i: F.huber_loss(i.x(6, 7), i.x(6, 7, grad=False)),
    "bce": lambda i: F.binary_cross_entropy(i.unit(6, 7), i.unit(6, 7, grad=False)),
    "bce-sum": lambda i: F.binary_cross_entropy(
        i.unit(6, 7), i.unit(6, 7, grad=False), reduction="sum"
    ),
    "bce-logits": lambda i: F.binary_cross_entropy_with_logits(i.x(6, 7), i.unit(6, 7, grad=False)),
    "cross_entropy": lambda i: F.cross_entropy(i.x(6, 7), i.index(7, 6)),
    "cross_entropy-smoothed": lambda i: F.cross_entropy(
        i.x(6, 7), i.index(7, 6), i.positive(7, grad=False), label_smoothing=0.1
    ),
    "cross_entropy-ignore": lambda i: F.cross_entropy(i.x(6, 7), i.index(7, 6), ignore_index=3),
    "cross_entropy-images": lambda i: F.cross_entropy(i.x(2, 5, 3, 4), i.index(5, 2, 3, 4)),
    "nll_loss": lambda i: F.nll_loss(i.x(6, 7), i.index(7, 6), reduction="sum"),
    "kl_div": lambda i: F.kl_div(i.x(6, 7), i.unit(6, 7, grad=False), reduction="batchmean"),
    "vae-kld": lambda i: -0.5 * torch.sum(1 + (v := i.x(6, 7)) - i.x(6, 7).pow(2) - v.exp()),
    "triplet": lambda i: F.triplet_margin_loss(i.x(6, 7), i.x(6, 7), i.dense(6, 7)),
    "lstm": _lstm,
    "gru": _gru,
    "sgd-momentum": _optimizer_steps(lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9)),
    "adam": _optimizer_steps(lambda weights: torch.optim.Adam(weights, 1e-2, eps=_EPS)),
    "adamw": _optimizer_steps(lambda weights: torch.optim.AdamW(weights, 1e-2, eps=_EPS)),
    "adadelta": _optimizer_steps(lambda weights: torch.optim.Adadelta(weights, 1.0)),
    "rmsprop": _optimizer_steps(lambda weights: torch.optim.RMSprop(weights, 1e-2, eps=_EPS)),
}
