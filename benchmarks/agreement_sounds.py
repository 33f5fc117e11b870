"""Networks that speak in plain PyTorch, as NVIDIA trains them; the forward pass ends in a loss.

Runs in the tracer's child: it imports torch alone, and never gpuplan. All rows are as long as the longest, so nothing
is padded; nothing is compiled.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from agreement_recurrent import Cell, recurrent
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SOUNDS"]

DEVICE = "cuda"
SYMBOLS, KEYS, FILTERS, WINDOW = 148, 128, 32, 31
"""Tacotron2's characters, width of its attention, and convolution over where that looked before (arXiv 1712.05884)."""
SAMPLES_OF_FRAME, REACH = 256, 1024
"""Of WaveGlow's spectrograms: samples between two frames, and in the window of one."""
TAKEN_EVERY, TAKEN = 4, 2
"""Of its flows (arXiv 1811.00002): after as many, so many channels are done."""


def smoothing(inputs: int, outputs: int) -> nn.Sequential:
    """A convolution in windows of five, and its batch norm."""
    return nn.Sequential(nn.Conv1d(inputs, outputs, 5, padding=2), nn.BatchNorm1d(outputs))


class Attention(nn.Module):
    """Weights of all characters, from the query, the characters, and where it looked before and so far."""

    def __init__(self, query: int, memory: int) -> None:
        super().__init__()
        self.query, self.memory = nn.Linear(query, KEYS, bias=False), nn.Linear(memory, KEYS, bias=False)
        self.window = nn.Conv1d(2, FILTERS, WINDOW, padding=WINDOW // 2, bias=False)
        self.place, self.score = nn.Linear(FILTERS, KEYS, bias=False), nn.Linear(KEYS, 1, bias=False)

    def forward(self, query: Tensor, keys: Tensor, looked: Tensor, mask: Tensor) -> Tensor:
        places = self.place(self.window(looked).transpose(1, 2))
        scores = self.score(torch.tanh(self.query(query.unsqueeze(1)) + places + keys)).squeeze(2)
        scores.data.masked_fill_(mask, -torch.inf)
        return functional.softmax(scores, 1)


class State(NamedTuple):
    """Of the loop over frames: both cells, the weights now and summed, and what they mixed."""

    attending: tuple[Tensor, Tensor]
    speaking: tuple[Tensor, Tensor]
    weights: Tensor
    summed: Tensor
    context: Tensor


class Decoder(nn.Module):
    """One frame after the other: a cell, an attention, a second cell, and two matrices."""

    def __init__(self, hidden: int, cell: int, mels: int) -> None:
        super().__init__()
        self.cell, self.hidden = cell, hidden
        self.attending = Cell(hidden // 2 + hidden, cell)
        self.speaking = Cell(cell + hidden, cell)
        self.attention = Attention(cell, hidden)
        self.frame, self.stop = nn.Linear(cell + hidden, mels), nn.Linear(cell + hidden, 1)

    def forward(self, frames: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        rows, characters = memory.shape[:2]
        zeros = [memory.new_zeros(rows, size) for size in (*4 * [self.cell], characters, characters, self.hidden)]
        state = State((zeros[0], zeros[1]), (zeros[2], zeros[3]), *zeros[4:])
        keys, mask = self.attention.memory(memory), torch.zeros(rows, characters, dtype=torch.bool, device=DEVICE)
        made, stops = [], []
        for frame in frames:
            state = self.advance(state, frame, memory, keys, mask)
            both = torch.cat([state.speaking[0], state.context], 1)
            made.append(self.frame(both))
            stops.append(self.stop(both).squeeze(1))
        return torch.stack(made).permute(1, 2, 0).contiguous(), torch.stack(stops).transpose(0, 1).contiguous()

    def advance(self, state: State, frame: Tensor, memory: Tensor, keys: Tensor, mask: Tensor) -> State:
        attending = self.attending(torch.cat([frame, state.context], 1), state.attending)
        query = functional.dropout(attending[0], 0.1)
        looked = torch.stack([state.weights, state.summed], 1)
        weights = self.attention(query, keys, looked, mask)
        context = torch.bmm(weights.unsqueeze(1), memory).squeeze(1)
        speaking = self.speaking(torch.cat([query, context], 1), state.speaking)
        spoken = functional.dropout(speaking[0], 0.1)
        return State((query, attending[1]), (spoken, speaking[1]), weights, state.summed + weights, context)


class Tacotron2(nn.Module):
    """Characters to a mel spectrogram: convolutions and an LSTM, a loop over frames, and convolutions over them."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        hidden, self.mels, self.characters = shape["hidden"], shape["mels"], shape["characters"]
        self.embedding = nn.Embedding(SYMBOLS, hidden)
        self.encoder = nn.ModuleList(smoothing(hidden, hidden) for _ in range(3))
        self.both = recurrent(shape, hidden, hidden // 2, both=True)
        sizes = [self.mels, hidden // 2, hidden // 2]
        self.before = nn.ModuleList(nn.Linear(*pair, bias=False) for pair in pairwise(sizes))
        self.decoder = Decoder(hidden, shape["recurrent"], self.mels)
        widths = [self.mels, *4 * [hidden], self.mels]
        self.after = nn.ModuleList(smoothing(*pair) for pair in pairwise(widths))

    def batch(self, rows: int, size: int) -> tuple[Tensor, ...]:
        text = torch.randint(SYMBOLS, (rows, self.characters), device=DEVICE)
        return text, torch.randn(rows, self.mels, size, device=DEVICE), torch.zeros(rows, size, device=DEVICE)

    def forward(self, text: Tensor, mels: Tensor, ends: Tensor) -> Tensor:
        made, stops = self.decoder(self.heard(mels), self.encode(text))
        after = made + self.smooth(made)
        loss = functional.mse_loss(made, mels) + functional.mse_loss(after, mels)
        return loss + functional.binary_cross_entropy_with_logits(stops, ends)

    def encode(self, text: Tensor) -> Tensor:
        hidden = self.embedding(text).transpose(1, 2)
        for layer in self.encoder:
            hidden = functional.dropout(functional.relu(layer(hidden)))
        return cast("Tensor", self.both(hidden.permute(2, 0, 1))).transpose(0, 1).contiguous()

    def heard(self, mels: Tensor) -> Tensor:
        """Each frame as the one before it is told to the decoder; dropout is part of it."""
        frames = torch.cat([mels.new_zeros(1, *mels.shape[:2]), mels.permute(2, 0, 1)])
        for layer in self.before:
            frames = functional.dropout(functional.relu(layer(frames)))
        return frames[:-1]

    def smooth(self, mels: Tensor) -> Tensor:
        for number, layer in enumerate(self.after):
            made = layer(mels)
            mels = functional.dropout(torch.tanh(made) if number < len(self.after) - 1 else made)
        return mels


class Coupling(nn.Module):
    """Dilated convolutions with gates, told the spectrogram at each layer: a scale and a shift of the other half."""

    def __init__(self, inputs: int, hidden: int, told: int, layers: int) -> None:
        super().__init__()
        self.hidden, last = hidden, layers - 1
        self.start, self.end = weight_norm(nn.Conv1d(inputs, hidden, 1)), nn.Conv1d(hidden, 2 * inputs, 1)
        self.heard = nn.ModuleList(
            weight_norm(nn.Conv1d(hidden, 2 * hidden, 3, dilation=2**number, padding=2**number))
            for number in range(layers)
        )
        self.told = nn.ModuleList(weight_norm(nn.Conv1d(told, 2 * hidden, 1)) for _ in range(layers))
        self.made = nn.ModuleList(
            weight_norm(nn.Conv1d(hidden, hidden if number == last else 2 * hidden, 1)) for number in range(layers)
        )

    def forward(self, half: Tensor, spectrogram: Tensor) -> Tensor:
        hidden, skipped = self.start(half), None
        for heard, told, made in zip(self.heard, self.told, self.made, strict=True):
            gates = heard(hidden) + told(spectrogram)
            result = made(torch.tanh(gates[:, : self.hidden]) * torch.sigmoid(gates[:, self.hidden :]))
            if result.shape[1] > self.hidden:
                hidden, result = result[:, : self.hidden] + hidden, result[:, self.hidden :]
            skipped = result if skipped is None else result + skipped
        return cast("Tensor", self.end(skipped))


class WaveGlow(nn.Module):
    """Flows from sound to noise: a mixture of all channels, then one half scaled and shifted by what the other says."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        self.group, self.mels = shape["group"], shape["mels"]
        self.upsample = nn.ConvTranspose1d(self.mels, self.mels, REACH, stride=SAMPLES_OF_FRAME)
        sizes = [self.group - number // TAKEN_EVERY * TAKEN for number in range(shape["flows"])]
        self.mixtures = nn.ModuleList(nn.Conv1d(size, size, 1, bias=False) for size in sizes)
        for mixture in self.mixtures:
            nn.init.dirac_(cast("nn.Conv1d", mixture).weight)  # its determinant has a logarithm
        told = self.mels * self.group
        self.couplings = nn.ModuleList(Coupling(size // 2, shape["hidden"], told, shape["layers"]) for size in sizes)

    def batch(self, rows: int, size: int) -> tuple[Tensor, ...]:
        frames = torch.randn(rows, self.mels, size // SAMPLES_OF_FRAME + 1, device=DEVICE)
        return frames, torch.randn(rows, size, device=DEVICE)

    def forward(self, frames: Tensor, samples: Tensor) -> Tensor:
        told = self.upsample(frames)[:, :, : samples.shape[1]].unfold(2, self.group, self.group)
        told = told.permute(0, 2, 1, 3).flatten(2).permute(0, 2, 1)
        sound, done, scales, mixed = samples.unfold(1, self.group, self.group).permute(0, 2, 1), [], [], []
        for number, (mixture, coupling) in enumerate(zip(self.mixtures, self.couplings, strict=True)):
            if number and number % TAKEN_EVERY == 0:
                done.append(sound[:, :TAKEN])
                sound = sound[:, TAKEN:]
            matrix = cast("nn.Conv1d", mixture).weight.squeeze(2).float()
            mixed.append(torch.logdet(matrix) * sound.shape[0] * sound.shape[2])
            one, other = mixture(sound).chunk(2, 1)
            shift, scale = coupling(one, told).chunk(2, 1)
            sound = torch.cat([one, torch.exp(scale) * other + shift], 1)
            scales.append(scale)
        noise = torch.cat([*done, sound], 1)
        gained = sum(scale.sum() for scale in scales) + sum(mixed)
        return cast("Tensor", ((noise * noise).sum() / 2 - gained) / noise.numel())


SOUNDS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {"tacotron2": Tacotron2, "waveglow": WaveGlow}
