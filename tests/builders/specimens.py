"""Small models in training that reach the ops of the known faults, each built twice as a run is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from msgspec.structs import replace
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adadelta, Adam, Optimizer

from mpstui.backends import open_backend
from mpstui.domain.config import default_config
from mpstui.domain.devices import parse_device
from mpstui.faults.library import FAULTS
from mpstui.investigate.twin import Twin
from mpstui.modes.step import Side, load, save
from mpstui.trees import Tree


class Specimen(NamedTuple):
    """A model, its data and how it is trained."""

    model: Callable[[], nn.Module]
    data: Callable[[torch.Generator], Tree]
    objective: Callable[[nn.Module, Tree], torch.Tensor]
    optimizer: Callable[[nn.Module], Optimizer] = lambda model: SGD(model.parameters(), lr=0.05)
    autocast: torch.dtype | None = None


def _images(g: torch.Generator) -> Tree:
    return (torch.rand(8, 3, 12, 12, generator=g), torch.randint(5, (8,), generator=g))


def _rows(*shape: int) -> Callable[[torch.Generator], Tree]:
    return lambda g: (torch.randn(shape, generator=g), torch.randint(4, shape[:1], generator=g))


class ConvNet(nn.Module):
    """Convolution, batch norm, softplus, tanh and dropout in channels_last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, 3)
        self.drop = nn.Dropout(0.25)
        self.head = nn.Linear(6, 5)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> Any:
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.softplus(self.norm(self.conv1(x)))
        x = self.drop(torch.tanh(self.conv2(x)))
        return self.head(x.mean((2, 3)))


class Transformer(nn.Module):
    """One block with heads of 64, behind a layer norm whose input needs no gradient."""

    def __init__(self, heads: int = 2, causal: bool = False) -> None:
        super().__init__()
        width = heads * 64
        self.heads, self.causal = heads, causal
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, 4))

    def forward(self, x: torch.Tensor) -> Any:
        b, n, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, n, 3, self.heads, 64).permute(2, 0, 3, 1, 4)
        if self.causal:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mask = torch.zeros(b, 1, n, n, device=x.device)
            for row in range(b):
                mask[row, :, :, : 1 + row] = -1e4
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
        x = x + self.out(mixed.transpose(1, 2).reshape(b, n, -1))
        return self.mlp(x.mean(1))


class Lstm(nn.Module):
    """Two layers with dropout between them."""

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.lstm = nn.LSTM(10, 12, num_layers=2, dropout=dropout)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.lstm(x.transpose(0, 1))[0][-1])


class Critic(nn.Module):
    """A score for each sample, whose mean is the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(40, 128)
        self.score = nn.Linear(128, 1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.score(F.silu(self.hidden(x)))


class Stream(nn.Module):
    """A linear layer without bias under a sum: its gradient comes expanded."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(40, 24, bias=False)

    def forward(self, x: torch.Tensor) -> Any:
        return self.hidden(x)


class Graph(nn.Module):
    """Messages that are added up at their targets."""

    def __init__(self) -> None:
        super().__init__()
        self.send = nn.Linear(16, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> Any:
        target = torch.arange(x.shape[0], device=x.device) // 2
        held = torch.zeros(x.shape[0], 12, device=x.device)
        held.index_add_(0, target, self.send(x))
        return self.head(held)


class Odds(nn.Module):
    """Ops that few models use, one at a time."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.enter = nn.Linear(16, 48)
        self.head = nn.Linear(48, 4)
        self.gains = nn.Parameter(torch.linspace(0.5, 2.0, 6))
        self.register_buffer("gram", torch.zeros(48, 60))

    def forward(self, x: torch.Tensor) -> Any:
        h = torch.relu(self.enter(x))
        return self.head(getattr(self, f"_{self.kind}")(h))

    def _topk(self, h: torch.Tensor) -> torch.Tensor:
        kept = torch.topk(h, 20, dim=1)
        return torch.zeros_like(h).scatter(1, kept.indices, kept.values)

    def _scalar(self, h: torch.Tensor) -> torch.Tensor:
        return h * self.gains[4]

    def _positions(self, h: torch.Tensor) -> torch.Tensor:
        places = (h > 0).long().cumsum(1)
        return h * (1 + 0.01 * places.to(h.dtype))

    def _pool(self, h: torch.Tensor) -> torch.Tensor:
        blocks = h.view(-1, 2, 3, 2, 4)
        return (blocks + 0.1 * blocks.sum(-3, keepdim=True)).flatten(1)

    def _noise(self, h: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(h.shape[0], 2, 3, 2, 4, device=h.device)
        return h + 0.1 * noise.flatten(1)

    def _column(self, h: torch.Tensor) -> torch.Tensor:
        shifted = h.clone()
        shifted[:, 0] += h.sum(1)
        return shifted

    def _whiten(self, h: torch.Tensor) -> torch.Tensor:
        gram = self.get_buffer("gram")
        with torch.no_grad():
            torch.mm(h.detach().t(), h.detach(), out=gram[:, 2:50])
        return h + 0.001 * (h @ gram[:, 2:50])


class Long(nn.Module):
    """Products with a very long or very wide side."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        wide = 32_770 if kind == "wide" else 6
        self.enter = nn.Linear(4, 6)
        self.out = nn.Linear(6, wide, bias=False)

    def forward(self, x: torch.Tensor) -> Any:
        h = torch.tanh(self.enter(x))
        if self.kind == "wide":
            return self.out(h).logsumexp(1).unsqueeze(1) * h[:, :4]
        if self.kind == "moments":  # the covariance of very many rows
            return (h.t() @ self.out(h))[:, :4]
        if self.kind == "batches":
            first = self.out(h[:512])
            return (self.out(h).mean(0) + first.mean(0)).expand(4, 6)[:, :4]
        pairs = torch.bmm(h.t().unsqueeze(0), self.out(h).unsqueeze(0))
        return pairs[0][:, :4]


def _class_loss(model: nn.Module, batch: Tree) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def _mean_score(model: nn.Module, batch: Tree) -> torch.Tensor:
    loss: torch.Tensor = model(batch[0]).mean()
    return loss


def _sum_score(model: nn.Module, batch: Tree) -> torch.Tensor:
    loss: torch.Tensor = model(batch[0]).sum()
    return loss


def _square(model: nn.Module, batch: Tree) -> torch.Tensor:
    loss: torch.Tensor = model(batch[0]).square().mean()
    return loss


def _adam(**kind: bool) -> Callable[[nn.Module], Optimizer]:
    return lambda model: Adam(model.parameters(), lr=1e-3, **kind)  # type: ignore[arg-type]


class Unscaled(SGD):
    """Unscales half-precision gradients with the scaler's op before each step."""

    def step(self, closure: Any = None) -> Any:
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        found = torch.zeros(1, device=grads[0].device)
        scale = torch.full((1,), 0.5, device=grads[0].device)
        torch._amp_foreach_non_finite_check_and_unscale_(grads, found, scale)
        return super().step(closure)


SPECIMENS: dict[str, Specimen] = {
    "convnet": Specimen(ConvNet, _images, _class_loss, _adam(foreach=False)),
    "transformer": Specimen(Transformer, _rows(4, 6, 128), _class_loss, _adam(foreach=True)),
    "causal": Specimen(
        lambda: Transformer(causal=True), _rows(4, 8, 128), _class_loss, autocast=torch.bfloat16
    ),
    "lstm": Specimen(Lstm, _rows(6, 5, 10), _class_loss, _adam(fused=True)),
    "critic": Specimen(Critic, _rows(64, 40), _mean_score),
    "stream": Specimen(Stream, _rows(33, 40), _sum_score),
    "graph": Specimen(Graph, _rows(16, 16), _class_loss),
    **{
        name: Specimen(lambda name=name: Odds(name), _rows(24, 16), _class_loss)  # type: ignore[misc]
        for name in ("topk", "scalar", "positions", "pool", "noise", "column", "whiten")
    },
    "moments": Specimen(lambda: Long("moments"), _rows(32_800, 4), _square),
    "pairs": Specimen(lambda: Long("pairs"), _rows(32_800, 4), _square),
    "wide": Specimen(lambda: Long("wide"), _rows(8, 4), _square),
    "batches": Specimen(lambda: Long("batches"), _rows(32_800, 4), _square),
    "half": Specimen(
        lambda: nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 4)).half(),
        lambda g: (torch.randn(12, 16, generator=g).half(), torch.randint(4, (12,), generator=g)),
        lambda model, batch: F.cross_entropy(model(batch[0]).float(), batch[1]),
        lambda model: Unscaled(model.parameters(), lr=0.05),
    ),
    "adadelta": Specimen(
        ConvNet, _images, _class_loss, lambda model: Adadelta(model.parameters(), foreach=False)
    ),
}


class Reached(NamedTuple):
    """A specimen that reaches a fault, and what has to be named there."""

    fault: str
    specimen: str
    op: str
    """A part of the op's name."""
    phase: str
    line: str = ""
    """A part of the model's line, wherever there is one."""
    parameter: str = ""


REACHES = (
    Reached("addcmul-strided", "convnet", "addcmul_", "optimizer", parameter="conv1.weight"),
    Reached("random-strided", "convnet", "bernoulli_", "forward", "self.drop("),
    Reached("index-add", "graph", "index_add_", "forward", "held.index_add_("),
    Reached("mm-out-slice", "whiten", "mm.out", "forward", "torch.mm("),
    Reached("slice-iadd", "column", "add_", "forward", "shifted[:, 0] +="),
    Reached("mm-stride0", "stream", "mm.default", "backward", "self.hidden(x)", "hidden.weight"),
    Reached("linear-reduce1", "critic", "mm.default", "backward", "self.score(", "score.weight"),
    Reached("softplus-strided", "convnet", "softplus", "forward", "F.softplus("),
    Reached("activation-strided", "convnet", "tanh_backward", "backward", "torch.tanh("),
    Reached(
        "batchnorm-channels-last",
        "convnet",
        "batch_norm_backward",
        "backward",
        "self.norm(",
        "norm.weight",
    ),
    Reached(
        "layernorm-frozen-input",
        "transformer",
        "layer_norm_backward",
        "backward",
        "self.norm(x)",
        "norm.weight",
    ),
    Reached("sdpa-permuted", "transformer", "scaled_dot_product", "forward", "scaled_dot_product"),
    Reached("sdpa-causal-half", "causal", "scaled_dot_product", "forward", "is_causal=True"),
    Reached("sdpa-broadcast-mask", "transformer", "scaled_dot_product", "forward", "attn_mask="),
    Reached("mm-transposed-left", "moments", "mm.default", "forward", "h.t() @"),
    Reached("bmm-long-reduction", "pairs", "bmm.default", "forward", "torch.bmm("),
    Reached(
        "backward-batch-change",
        "batches",
        "mm.default",
        "backward",
        "self.enter(x)",
        "enter.weight",
    ),
    Reached("linear-wide", "wide", "mm.default", "forward", "self.out(h)", "out.weight"),
    Reached("scalar-offset", "scalar", "mul.Tensor", "forward", "self.gains[4]", "gains"),
    Reached("topk-16", "topk", "topk.default", "forward", "torch.topk("),
    Reached("int-cumsum", "positions", "cumsum.default", "forward", ".cumsum(1)"),
    Reached("sum-5d", "pool", "sum.dim_IntList", "forward", "blocks.sum(-3"),
    Reached("randn-5d", "noise", "randn.default", "forward", "torch.randn("),
    Reached("unscale-half", "half", "unscale_", "optimizer"),
    Reached("lstm-dropout", "lstm", "mul.Tensor", "backward", "self.lstm("),
)


def twin_of(name: str, device: str = "cpu", seed: int = 1, fault: Any = None) -> Twin:
    """A specimen on a device and on the CPU.

    Args:
        name: Of the specimen.
        device: A device spec; its fault is entered as a run's would be.
        seed: Of weights, data and draws.
        fault: A context manager in place of the spec's fault.
    """
    specimen, spec = SPECIMENS[name], parse_device(device)
    named = spec.option("fault")
    entered = fault or (FAULTS[named]() if named else nullcontext())
    backend, cpu = open_backend(spec), open_backend(parse_device("cpu"))
    backend.set_precision(spec.option("precision") or "float32")
    precision = spec.option("precision") or "float32"

    def side(where: Any, fault: Any, lower: bool) -> Side:
        torch.manual_seed(seed)
        model = specimen.model().to(where.device)
        autocast: Any = nullcontext
        if specimen.autocast is not None:
            autocast = lambda: torch.autocast(where.device.type, dtype=specimen.autocast)  # noqa: E731
        elif lower and precision == "bf16":
            autocast = lambda: where.autocast("bf16")  # noqa: E731
        optimizers = (specimen.optimizer(model),)
        return Side(where, model, optimizers, specimen.objective, autocast=autocast, fault=fault)

    ours, theirs = side(backend, entered, True), side(cpu, nullcontext(), False)
    begin = save(theirs)
    load(ours, begin)

    def batch(step: int) -> Tree:
        return specimen.data(torch.Generator().manual_seed(seed * 1000 + step))

    def reset() -> None:
        load(ours, begin)
        load(theirs, begin)

    return Twin(
        config=replace(default_config("mnist").on(spec), workload=name, seed=seed),
        device=ours,
        cpu=theirs,
        batch=batch,
        samples=lambda step: len(batch(step)[1]),
        restore=lambda path: 0,
        reset=reset,
        total_steps=1000,
        device_name=backend.name(),
        notes=(f"SIMULATED fault {named}",) if named else (),
        seed=seed,
        per_sample=False,
    )
