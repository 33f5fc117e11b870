"""Networks over words, sounds and clicks from their dimensions, one function a family. It knows no batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.footprint.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SEQUENCE_FAMILIES"]


def gnmt(length: int, given: Mapping[str, Any]) -> Network:
    """Google's translator as NVIDIA trains it: LSTMs with attention, the encoder's first layer in both directions."""
    hidden, vocabulary, layers = given["hidden"], given["vocabulary"], given["layers"]
    net = Network(size=1, channels=hidden)
    net.look_up(vocabulary, hidden, times=2 * length)
    for inputs in (hidden, hidden, 2 * hidden, *[hidden] * (layers - 2)):
        net.recur(inputs, hidden, times=length)
    net.recur(hidden, hidden, times=length)
    net.multiply(hidden, bias=False, times=2 * length, inputs=hidden)
    net.multiply(hidden, bias=False, times=2 * length, inputs=hidden)
    net.attend(width=hidden, length=length, source=length)
    net.sweep(length * length * hidden, 6, kept=length * length * hidden)
    for _ in range(layers - 1):
        net.recur(2 * hidden, hidden, times=length)
    net.multiply(vocabulary, times=length, inputs=hidden)
    net.sweep(length * vocabulary, 8, kept=2 * length * vocabulary)
    return net


def transformer_xl(length: int, given: Mapping[str, Any]) -> Network:
    """Attention with relative positions over this and the segment before."""
    width, inner, source = given["hidden"], given["feedforward"], length + given["memory"]
    queries = given["heads"] * given["head_dim"]
    net = Network(size=1, channels=width)
    for rows, narrow in given["clusters"]:
        net.look_up(rows, narrow, times=length if narrow == width else 0)
        if narrow != width or len(given["clusters"]) > 1:
            net.multiply(width, bias=False, times=length // len(given["clusters"]), inputs=narrow)
    for _ in range(given["layers"]):
        _relative_layer(net, width=width, queries=queries, inner=inner, length=length, source=source, given=given)
    return _adaptive_head(net, length, given)


def _relative_layer(
    net: Network, *, width: int, queries: int, inner: int, length: int, source: int, given: Mapping[str, Any]
) -> None:
    net.multiply(3 * queries, bias=False, times=source, inputs=width)
    net.multiply(queries, bias=False, times=source, inputs=width)
    net.attend(width=queries, length=length, source=source)
    net.attend(width=queries, length=length, source=source)
    net.sweep(given["heads"] * length * source, 16, kept=3 * given["heads"] * length * source, kernels=14)
    net.multiply(width, bias=False, times=length, inputs=queries)
    net.multiply(inner, times=length, inputs=width)
    net.multiply(width, times=length, inputs=inner)
    net.sweep(length * (8 * width + 3 * inner), 3, kept=length * (6 * width + inner), kernels=16)


def _adaptive_head(net: Network, length: int, given: Mapping[str, Any]) -> Network:
    """The loss over the frequent words for every token; rarer clusters are read by the few tokens in them."""
    frequent, width = given["clusters"][0]
    outputs = frequent + len(given["clusters"]) - 1
    net.multiply(outputs, bias=False, times=length, inputs=width)
    net.parts[-1] = net.parts[-1]._replace(weights=0.0)  # the embedding's
    net.sweep(length * outputs, 8, kept=2 * length * outputs)
    return net


def ncf(_: int, given: Mapping[str, Any]) -> Network:
    """Matrix factorisation beside a perceptron (NeuMF); a row is one pair of a user and an item."""
    factors, widths = given["factors"], given["widths"]
    net = Network(size=1, channels=factors)
    for rows in (given["users"], given["items"]):
        net.look_up(rows, factors)
        net.look_up(rows, widths[0] // 2)
    net.channels = widths[0]
    for width in widths[1:]:
        net.multiply(width)
        net.sweep(width, 5)
    net.multiply(1, inputs=factors + widths[-1])
    return net


def tacotron2(length: int, given: Mapping[str, Any]) -> Network:
    """Characters to a mel spectrogram of `length` frames: one step of two LSTMs and attention for each frame."""
    hidden, cell, mels = given["hidden"], given["recurrent"], given["mels"]
    characters, narrow = given["characters"], hidden // 2
    net = Network(size=1, channels=hidden)
    net.look_up(148, hidden, times=characters)
    for _ in range(3):
        _convolve_1d(net, hidden, hidden, kernel=5, times=characters)
    net.recur(hidden, narrow, times=characters)
    net.recur(hidden, narrow, times=characters)
    net.multiply(narrow, bias=False, times=length, inputs=mels)
    net.multiply(narrow, bias=False, times=length, inputs=narrow)
    net.recur(narrow + hidden, cell, times=length)
    net.recur(cell + hidden, cell, times=length)
    net.multiply(128, bias=False, times=length, inputs=cell)
    net.multiply(128, bias=False, times=characters, inputs=hidden)
    net.multiply(32, bias=False, times=length * characters, inputs=2 * 31)
    net.multiply(128, bias=False, times=length * characters, inputs=32)
    net.sweep(128.0 * length * characters, 6, kept=128.0 * length * characters, kernels=20 * length)
    net.multiply(1, bias=False, times=length * characters, inputs=128)
    net.multiply(mels + 1, times=length, inputs=cell + hidden)
    for inputs, outputs in ((mels, hidden), *[(hidden, hidden)] * 3, (hidden, mels)):
        _convolve_1d(net, inputs, outputs, kernel=5, times=length)
    return net


def waveglow(length: int, given: Mapping[str, Any]) -> Network:
    """Flows of invertible mixtures and gated convolutions, over groups of samples."""
    hidden, mels, group, layers = given["hidden"], given["mels"], given["group"], given["layers"]
    steps, channels = length // group, group
    net = Network(size=1, channels=group)
    net.multiply(mels, times=length // 256, inputs=mels * 1024)  # up to one frame a sample
    for flow in range(given["flows"]):
        if flow and flow % 4 == 0:
            channels -= 2
        net.multiply(channels, bias=False, times=steps, inputs=channels)
        net.multiply(hidden, times=steps, inputs=channels // 2)
        net.multiply(2 * hidden * layers, times=steps, inputs=mels * group)
        for layer in range(layers):
            net.multiply(2 * hidden, times=steps, inputs=3 * hidden)
            net.sweep(2.0 * hidden * steps, 8, kept=3.0 * hidden * steps, kernels=6)
            net.multiply(2 * hidden if layer < layers - 1 else hidden, times=steps, inputs=hidden)
        net.multiply(channels, times=steps, inputs=hidden)
    return net


def _convolve_1d(net: Network, inputs: int, outputs: int, *, kernel: int, times: int) -> None:
    """A convolution over a line is a matrix on windows; a batch norm and an activation follow."""
    net.multiply(outputs, times=times, inputs=inputs * kernel)
    net.parts[-1] = net.parts[-1]._replace(kind="convolution", swept=3.0 * times * (inputs + outputs))
    net.sweep(times * outputs, 13, kept=2 * times * outputs, kernels=4)
    net.parts[-1] = net.parts[-1]._replace(weights=2.0 * outputs)


SEQUENCE_FAMILIES: dict[str, Callable[[int, Mapping[str, Any]], Network]] = {
    "gnmt": gnmt, "transformer_xl": transformer_xl, "ncf": ncf, "tacotron2": tacotron2, "waveglow": waveglow,
}  # fmt: skip
