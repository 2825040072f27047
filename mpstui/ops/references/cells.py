"""One step of an LSTM or a GRU, from its gates before activation.

The semantics, and the layout of the workspaces, are those of the kernels in ATen's
``cuda/RNN.cu``: gates are concatenated, and a workspace contains them after their activations.
"""

from __future__ import annotations

import torch

Tensor = torch.Tensor


def _sum(gates: Tensor, *terms: Tensor | None) -> Tensor:
    for term in terms:
        gates = gates if term is None else gates + term
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
    """Gradients of the gates, the cell state and the bias; all None without incoming gradients."""
    if grad_hy is None and grad_cy is None:
        return None, None, None
    i, f, g, o = workspace.chunk(4, 1)
    hidden_gradient = torch.zeros_like(cx) if grad_hy is None else grad_hy
    squashed = cy.tanh()
    cell_gradient = _sum(hidden_gradient * o * (1 - squashed**2), grad_cy)
    gate_gradient = torch.cat(
        (
            cell_gradient * g * i * (1 - i),
            cell_gradient * cx * f * (1 - f),
            cell_gradient * i * (1 - g**2),
            hidden_gradient * squashed * o * (1 - o),
        ),
        1,
    )
    return gate_gradient, cell_gradient * f, gate_gradient.sum(0) if has_bias else None


def lstm_cell_backward(
    grad_hy: Tensor | None,
    grad_cy: Tensor | None,
    cx: Tensor,
    cy: Tensor,
    workspace: Tensor,
    has_bias: bool,
) -> tuple[Tensor | None, ...]:
    """Gradients of input gates, hidden gates, cell state and both biases: each pair is equal."""
    gates, cell_state_gradient, bias = lstm_cell_backward_impl(
        grad_hy, grad_cy, cx, cy, workspace, has_bias
    )
    return gates, gates, cell_state_gradient, bias, bias


def gru_cell(
    input_gates: Tensor,
    hidden_gates: Tensor,
    hx: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The hidden state, and r, z, n, the previous state and n's hidden part, concatenated."""
    ir, iz, input_new = _sum(input_gates, input_bias).chunk(3, 1)
    hr, hz, hidden = _sum(hidden_gates, hidden_bias).chunk(3, 1)
    r, z = (ir + hr).sigmoid(), (iz + hz).sigmoid()
    n = (input_new + r * hidden).tanh()
    return n + z * (hx - n), torch.cat((r, z, n, hx, hidden), 1)


def gru_cell_backward(
    grad_hy: Tensor, workspace: Tensor, has_bias: bool
) -> tuple[Tensor | None, ...]:
    """Gradients of input gates, hidden gates, the state and both biases."""
    r, z, n, hx, hidden = workspace.chunk(5, 1)
    n_gradient = grad_hy * (1 - z) * (1 - n**2)
    z_gradient = grad_hy * (hx - n) * z * (1 - z)
    r_gradient = n_gradient * hidden * r * (1 - r)
    input_gradient = torch.cat((r_gradient, z_gradient, n_gradient), 1)
    hidden_gates_gradient = torch.cat((r_gradient, z_gradient, n_gradient * r), 1)
    biases = (input_gradient.sum(0), hidden_gates_gradient.sum(0)) if has_bias else (None, None)
    return input_gradient, hidden_gates_gradient, grad_hy * z, *biases
