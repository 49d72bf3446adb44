"""LSTMs as the ONNX operator, for sequences of any length.

torch's exporter takes an LSTM's steps one by one as it looks at shapes, and so fixes their number.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["with_onnx_lstms"]

_PLAIN = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
"""Parameters of an LSTM of one layer and direction, with biases."""


def with_onnx_lstms(module: nn.Module) -> nn.Module:
    """Copies a module; its plain LSTMs, batch first, become ones that only the exporter can run.

    Args:
        module: Is left as it is.
    """
    copied = copy.deepcopy(module)
    made: dict[nn.Module, _OnnxLstm] = {}
    for parent in list(copied.modules()):
        for name, part in list(parent._modules.items()):
            if type(part) is nn.LSTM and part.batch_first and [own for own, _ in part.named_parameters()] == _PLAIN:
                setattr(parent, name, made.setdefault(part, _OnnxLstm(part)))
    return copied


class _OnnxLstm(nn.Module):
    """See https://onnx.ai/onnx/operators/onnx__LSTM.html."""

    weight: Tensor
    recurrence: Tensor
    bias: Tensor

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.hidden_size = lstm.hidden_size
        weight, recurrence, bias, recurrence_bias = (_in_order(gates) for gates in lstm.parameters())
        self.register_buffer("weight", weight[None])
        self.register_buffer("recurrence", recurrence[None])
        self.register_buffer("bias", torch.cat([bias, recurrence_bias])[None])

    def forward(
        self, values: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As nn.LSTM: values are [row, step, value], each of the state is [1, row, cell]."""
        rows, steps = values.shape[:2]
        hidden, cell = state or (values.new_zeros(1, rows, self.hidden_size),) * 2
        outputs, hidden, cell = torch.onnx.ops.symbolic_multi_out(
            "::LSTM",
            (values.transpose(0, 1), self.weight, self.recurrence, self.bias, None, hidden, cell),
            {"hidden_size": self.hidden_size},
            dtypes=(values.dtype,) * 3,
            shapes=((steps, 1, rows, self.hidden_size), hidden.shape, cell.shape),
        )
        return outputs[:, 0].transpose(0, 1), (hidden, cell)


def _in_order(gates: Tensor) -> Tensor:
    """From torch's order (input, forget, cell, output) to ONNX's (input, output, forget, cell)."""
    into, forget, cell, out = gates.detach().chunk(4)
    return torch.cat([into, out, forget, cell])
