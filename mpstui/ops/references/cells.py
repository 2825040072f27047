"""One step of an LSTM or a GRU, its gates already multiplied out.

The semantics, and the layout of the workspaces, are those of the kernels in ATen's
``cuda/RNN.cu``: the gates stand side by side, and a workspace holds them after their activations.
"""

from __future__ import annotations

import torch

Tensor = torch.Tensor


def _sum(gates: Tensor, *others: Tensor | None) -> Tensor:
    for other in others:
        gates = gates if other is None else gates + other
    return gates


def lstm_cell(
    input_gates: Tensor,
    hidden_gates: Tensor,
    cx: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The hidden state, the cell state, and the gates i, f, g and o."""
    gates = _sum(input_gates, hidden_gates, input_bias, hidden_bias)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * cx + i * g
    return o * cy.tanh(), cy, torch.cat((i, f, g, o), 1)


def lstm_cell_backward_impl(
    grad_hy: Tensor | None,
    grad_cy: Tensor | None,
    cx: Tensor,
    cy: Tensor,
    workspace: Tensor,
    has_bias: bool,
) -> tuple[Tensor | None, ...]:
    """Gradients of the gates, the cell state and the bias: None all, if nothing comes in."""
    if grad_hy is None and grad_cy is None:
        return None, None, None
    i, f, g, o = workspace.chunk(4, 1)
    of_hy = torch.zeros_like(cx) if grad_hy is None else grad_hy
    squashed = cy.tanh()
    of_cy = _sum(of_hy * o * (1 - squashed**2), grad_cy)
    of_gates = torch.cat(
        (
            of_cy * g * i * (1 - i),
            of_cy * cx * f * (1 - f),
            of_cy * i * (1 - g**2),
            of_hy * squashed * o * (1 - o),
        ),
        1,
    )
    return of_gates, of_cy * f, of_gates.sum(0) if has_bias else None


def lstm_cell_backward(
    grad_hy: Tensor | None,
    grad_cy: Tensor | None,
    cx: Tensor,
    cy: Tensor,
    workspace: Tensor,
    has_bias: bool,
) -> tuple[Tensor | None, ...]:
    """Gradients of input gates, hidden gates, cell state and both biases: each pair is equal."""
    gates, of_cx, bias = lstm_cell_backward_impl(grad_hy, grad_cy, cx, cy, workspace, has_bias)
    return gates, gates, of_cx, bias, bias


def gru_cell(
    input_gates: Tensor,
    hidden_gates: Tensor,
    hx: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The hidden state, and side by side r, z, n, the old state and n's hidden part."""
    ir, iz, new = _sum(input_gates, input_bias).chunk(3, 1)
    hr, hz, hidden = _sum(hidden_gates, hidden_bias).chunk(3, 1)
    r, z = (ir + hr).sigmoid(), (iz + hz).sigmoid()
    n = (new + r * hidden).tanh()
    return n + z * (hx - n), torch.cat((r, z, n, hx, hidden), 1)


def gru_cell_backward(
    grad_hy: Tensor, workspace: Tensor, has_bias: bool
) -> tuple[Tensor | None, ...]:
    """Gradients of input gates, hidden gates, the state and both biases."""
    r, z, n, hx, hidden = workspace.chunk(5, 1)
    of_n = grad_hy * (1 - z) * (1 - n**2)
    of_z = grad_hy * (hx - n) * z * (1 - z)
    of_r = of_n * hidden * r * (1 - r)
    of_input = torch.cat((of_r, of_z, of_n), 1)
    of_hidden = torch.cat((of_r, of_z, of_n * r), 1)
    biases = (of_input.sum(0), of_hidden.sum(0)) if has_bias else (None, None)
    return of_input, of_hidden, grad_hy * z, *biases
