"""The integer arithmetic of the shipped file, and its imitation in training.

Weights: symmetric per output channel, ±64 (7 bits). Activations: uint8 per tensor with a fixed
range. CPUs without VNNI add two u8 × s8 products in 16 bits; 255 · 64 · 2 = 32,640 stays below
32,767, so nothing can saturate and every CPU computes the same integers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

WEIGHT_LIMIT = 64
ACTIVATION_LEVELS = 255


def quantise_weight(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[out, in] float → (int8 of the same shape, one scale per output channel)."""
    scale = np.maximum(np.abs(weight).max(axis=1), 1e-8).astype(np.float32) / np.float32(WEIGHT_LIMIT)
    quantised = np.clip(np.rint(weight / scale[:, None]), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    return quantised.astype(np.int8), scale


def quantise_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An embedding table [pieces, width] → (int8, one scale per row)."""
    scale = np.maximum(np.abs(table).max(axis=1), 1e-8).astype(np.float32) / np.float32(127)
    return np.clip(np.rint(table / scale[:, None]), -127, 127).astype(np.int8), scale


def activation_parameters(low: float, high: float) -> tuple[np.float32, int]:
    """Scale and zero point of a range; the range is widened to hold 0, which stays exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max(high - low, 1e-6) / ACTIVATION_LEVELS)
    zero_point = int(np.clip(np.rint(-low / scale), 0, ACTIVATION_LEVELS))
    return scale, zero_point


class _FakeWeight(torch.autograd.Function):
    """Round to the int8 grid forward; pass the gradient straight through."""

    @staticmethod
    def forward(ctx, weight):
        scale = weight.abs().amax(dim=1, keepdim=True).clamp_min_(1e-8).div_(WEIGHT_LIMIT)
        return (weight / scale).round_().mul_(scale)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class _FakeActivation(torch.autograd.Function):
    """Round to the uint8 grid forward. Backward: straight through inside the range; the range's
    ends learn from what they clip and from the rounding error of the rest (as LSQ+ does)."""

    @staticmethod
    def forward(ctx, x, low, high):
        scale, zero_point = activation_parameters(low.item(), high.item())
        scale = float(scale)
        levels = torch.mul(x, 1 / scale).round_().add_(zero_point)
        below, above = levels < 0, levels > ACTIVATION_LEVELS
        value = levels.clamp_(0, ACTIVATION_LEVELS).sub_(zero_point).mul_(scale)
        ctx.save_for_backward(below, above, value - x)
        ctx.scale = scale
        return value

    @staticmethod
    def backward(ctx, gradient):
        below, above, error = ctx.saved_tensors
        clipped = below | above
        inside = gradient.masked_fill(clipped, 0.0)
        by_scale = torch.dot(inside.flatten(), error.flatten()) / (ctx.scale * ACTIVATION_LEVELS)
        shrink = 1.0 / (gradient.numel() * ACTIVATION_LEVELS) ** 0.5
        low = (gradient[below].sum() - by_scale) * shrink
        high = (gradient[above].sum() + by_scale) * shrink
        return inside, low, high


class ActivationRange(nn.Module):
    """The learnt range of one quantised activation.

    mode 'off' passes through, 'observe' tracks a moving average of the batch's extremes,
    'on' imitates uint8. Where `channels` is given, each channel is first multiplied by its `smoothing`:
    1 until `smooth` has evened out the channels that would stretch the one range of all.
    """

    momentum = 0.95

    def __init__(self, channels: int | None = None) -> None:
        super().__init__()
        self.low = nn.Parameter(torch.zeros(()))
        self.high = nn.Parameter(torch.zeros(()))
        self.register_buffer("smoothing", None if channels is None else torch.ones(channels))
        # Extremes by channel while observing; a single one without scales by channel.
        self.register_buffer("lows", torch.zeros(channels or 1), persistent=False)
        self.register_buffer("highs", torch.zeros(channels or 1), persistent=False)
        self.mode = "off"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.smoothing is not None:
            x = x * self.smoothing.to(x.dtype)
        if self.mode == "on":
            return _FakeActivation.apply(x.float(), self.low, self.high)
        if self.mode == "observe":
            self._observe(x.detach().float())
        return x

    @torch.no_grad()
    def _observe(self, x: torch.Tensor) -> None:
        by_channel = x.flatten(0, -2) if self.smoothing is not None else x.reshape(-1, 1)
        momentum = 0.0 if not (self.lows.any() or self.highs.any()) else self.momentum
        self.lows.mul_(momentum).add_(by_channel.amin(dim=0).clamp_max_(0.0), alpha=1 - momentum)
        self.highs.mul_(momentum).add_(by_channel.amax(dim=0).clamp_min_(0.0), alpha=1 - momentum)
        self.low.fill_(self.lows.min())
        self.high.fill_(self.highs.max())

    @torch.no_grad()
    def smooth(self) -> torch.Tensor:
        """Divide each channel by the root of its observed peak over the median one, and return those divisors [channels].

        The caller multiplies the columns of the weight by them, so the product stays what it was (Xiao et al., 2023,
        "SmoothQuant", with half of the difficulty moved into the weights).
        """
        peaks = torch.maximum(self.highs, -self.lows)
        divisors = (peaks / peaks.median().clamp_min(1e-6)).sqrt().clamp_(0.5, 16.0)
        self.smoothing.div_(divisors)
        self.lows.div_(divisors)
        self.highs.div_(divisors)
        self.low.fill_(self.lows.min())
        self.high.fill_(self.highs.max())
        return divisors


class QuantLinear(nn.Linear):
    """A linear layer whose weight can be put on the int8 grid; its input is quantised by the caller."""

    quantised = False

    def used_weight(self) -> torch.Tensor:
        """The weight [outputs, inputs], on the int8 grid if quantisation is simulated."""
        return _FakeWeight.apply(self.weight) if self.quantised else self.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.used_weight(), self.bias)


def set_mode(model: nn.Module, mode: str) -> None:
    """Switch every quantiser of a model to 'off', 'observe' or 'on'."""
    for module in model.modules():
        if isinstance(module, ActivationRange):
            module.mode = mode
        elif isinstance(module, QuantLinear):
            module.quantised = mode == "on"
