"""Networks over words, sounds and clicks from their dimensions, one function a family. It knows no batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.footprint.network import (
    ACTIVATION_SWEEPS,
    DROPOUT_SWEEPS,
    LOSS_SWEEPS,
    NORM_SWEEPS,
    SUM_SWEEPS,
    Network,
    Part,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SEQUENCE_FAMILIES"]


def gnmt(length: int, given: Mapping[str, Any]) -> Network:
    """Google's translator as NVIDIA trains it: LSTMs with attention, the encoder's first layer in both directions."""
    hidden, vocabulary, layers = given["hidden"], given["vocabulary"], given["layers"]
    net = Network(size=1, channels=hidden)
    net.look_up(vocabulary, hidden, times=2 * length)
    for inputs in (hidden, hidden, 2 * hidden, *[hidden] * (layers - 2)):
        _recurrent_layer(net, inputs, hidden, length)
    _recurrent_layer(net, hidden, hidden, length)
    net.multiply(hidden, bias=False, times=length, inputs=hidden)
    net.multiply(hidden, bias=False, times=length, inputs=hidden)
    net.attend(width=hidden, length=length, source=length)
    # Every query with every key: their sum, a bias, tanh and a product with a vector, and back.
    net.sweep(length * length * hidden, 15, kept=length * length * hidden, kernels=20)
    for _ in range(layers - 1):
        _recurrent_layer(net, 2 * hidden, hidden, length)
    net.multiply(vocabulary, times=length, inputs=hidden)
    _smoothed_loss(net, length * vocabulary)
    return net


def _recurrent_layer(net: Network, inputs: int, hidden: int, length: int) -> None:
    """With the dropout of its input, and a sum or a joining with the attention's context."""
    net.recur(inputs, hidden, times=length)
    net.sweep(length * inputs, DROPOUT_SWEEPS + 2 * SUM_SWEEPS, kept=1.25 * length * inputs, kernels=6)


def _smoothed_loss(net: Network, elements: float) -> None:
    """Label smoothing in fp32: beside the log-softmax a mean over all classes, and its gradient."""
    net.sweep(elements, 2, full=LOSS_SWEEPS + 2, kept=2 * elements, kernels=16)


def transformer_xl(length: int, given: Mapping[str, Any]) -> Network:
    """Attention with relative positions over this and the segment before."""
    width = given["hidden"]
    net = Network(size=1, channels=width)
    for cluster in given["clusters"]:
        rows, narrow = cluster["words"], cluster["width"]
        times = max(1, round(cluster["share"] * length))
        net.look_up(rows, narrow, times=times)
        if narrow != width:
            net.multiply(width, bias=False, times=times, inputs=narrow)
    net.sweep(length * width, 2 * DROPOUT_SWEEPS, full=4, kernels=12)
    for _ in range(given["layers"]):
        _relative_layer(net, length, given)
    return _adaptive_head(net, length, given)


def _relative_layer(net: Network, length: int, given: Mapping[str, Any]) -> None:
    width, inner, source = given["hidden"], given["feedforward"], length + given["memory"]
    queries, scores = given["heads"] * given["head_dim"], given["heads"] * length * source
    net.multiply(3 * queries, bias=False, times=source, inputs=width)
    net.parts.append(Part("matmul", weights=width * queries, kernels=3))  # of the positions, which all rows share
    products = 3.0 * ((length + source) * queries + scores)
    net.parts += 3 * [Part("attention", macs=float(length * source * queries), swept=products, kernels=3)]
    dropout = DROPOUT_SWEEPS if given.get("dropout_of_scores") else 0.0
    net.sweep(scores, 21 + dropout, full=4, casts=1, kept=3 * scores, kernels=22)
    net.multiply(width, bias=False, times=length, inputs=queries)
    net.sweep(source * queries, 35, casts=1, kept=2 * source * queries, kernels=26)
    net.multiply(inner, times=length, inputs=width)
    net.multiply(width, times=length, inputs=inner)
    net.sweep(length * inner, ACTIVATION_SWEEPS + DROPOUT_SWEEPS, kept=length * inner, kernels=4)
    net.sweep(
        length * width,
        2 * DROPOUT_SWEEPS,
        full=2 * (NORM_SWEEPS + 2 * SUM_SWEEPS),
        casts=4,
        kept=6 * length * width,
        kernels=16,
    )


def _adaptive_head(net: Network, length: int, given: Mapping[str, Any]) -> Network:
    """The loss over the frequent words for every token; rarer clusters are read by the few tokens in them."""
    clusters = given["clusters"]
    for number, cluster in enumerate(clusters):
        times = length if number == 0 else max(1, round(cluster["share"] * length))
        outputs = cluster["words"] + (len(clusters) - 1 if number == 0 else 0)
        net.multiply(outputs, bias=False, times=times, inputs=cluster["width"])
        tied = net.parts[-1]  # its weights are the embedding's, whose gradient is added to this one's
        net.parts[-1] = tied._replace(weights=0.0, fixed=(tied.passes + SUM_SWEEPS) * tied.weights)
        net.sweep(times * outputs, 1, full=LOSS_SWEEPS - 1, kept=2 * times * outputs, kernels=12)
    return net


def ncf(_: int, given: Mapping[str, Any]) -> Network:
    """Matrix factorisation beside a perceptron (NeuMF); a row is one pair of a user and an item."""
    factors, widths = given["factors"], given["widths"]
    net = Network(size=1, channels=factors)
    for rows in (given["users"], given["items"]):
        net.look_up(rows, factors)
        net.look_up(rows, widths[0] // 2)
    net.sweep(factors, full=3 * SUM_SWEEPS, kept=factors, kernels=3)
    net.sweep(widths[0], full=2, casts=1, kept=widths[0], kernels=3)
    net.channels = widths[0]
    for width in widths[1:]:
        net.multiply(width)
        net.activate("relu")
        net.sweep(width, DROPOUT_SWEEPS, kept=1.25 * width)
    joined = factors + widths[-1]
    net.sweep(joined, full=2, casts=1, kept=joined, kernels=3)
    net.multiply(1, inputs=joined)
    return net


def tacotron2(length: int, given: Mapping[str, Any]) -> Network:
    """Characters to a mel spectrogram of `length` frames: a loop in Python over two LSTM cells and an attention."""
    hidden, mels, characters = given["hidden"], given["mels"], given["characters"]
    narrow = hidden // 2
    net = Network(size=1, channels=hidden)
    net.look_up(148, hidden, times=characters)
    for _ in range(3):
        _convolve_1d(net, hidden, hidden, kernel=5, times=characters)
    for _ in range(2):
        net.recur(hidden, narrow, times=characters)
    for inputs in (mels, narrow):
        net.multiply(narrow, bias=False, times=length, inputs=inputs)
        net.sweep(length * narrow, ACTIVATION_SWEEPS + DROPOUT_SWEEPS, kept=length * narrow, kernels=4)
    _decode(net, length, given)
    for inputs, outputs in ((mels, hidden), *[(hidden, hidden)] * 3, (hidden, mels)):
        _convolve_1d(net, inputs, outputs, kernel=5, times=length)
    return net


def _decode(net: Network, length: int, given: Mapping[str, Any]) -> None:
    """For each frame both cells, and an attention that looks at all characters and where it looked before."""
    hidden, cell, characters, keys = given["hidden"], given["recurrent"], given["characters"], 128
    seen = length * characters
    net.multiply(keys, bias=False, times=characters, inputs=hidden)
    for inputs in (hidden // 2 + hidden, cell + hidden):
        net.multiply(4 * cell, bias=False, times=length, inputs=inputs, uses=length)
        net.multiply(4 * cell, bias=False, times=length, inputs=cell, uses=length)
        net.sweep(length * cell, 44, kept=8 * length * cell, kernels=14 * length)
    net.multiply(keys, bias=False, times=length, inputs=cell, uses=length)
    _convolve_1d_in_a_loop(net, characters, length)
    net.multiply(keys, bias=False, times=seen, inputs=32, uses=length)
    net.sweep(seen * keys, 14, kept=2 * seen * keys, kernels=20 * length)
    net.multiply(1, bias=False, times=seen, inputs=keys, uses=length)
    net.sweep(seen, 40, kept=6 * seen, kernels=24 * length)
    net.parts.append(Part("matmul", macs=float(seen * hidden), swept=3.0 * seen * hidden, kernels=3 * length))
    net.sweep(seen * hidden, SUM_SWEEPS, kernels=2 * length)
    net.multiply(given["mels"], times=length, inputs=cell + hidden, uses=length)
    net.multiply(1, times=length, inputs=cell + hidden, uses=length)


def waveglow(length: int, given: Mapping[str, Any]) -> Network:
    """Flows of invertible mixtures and gated convolutions, over groups of samples."""
    hidden, mels, group, layers = given["hidden"], given["mels"], given["group"], given["layers"]
    steps, channels = length // group, group
    net = Network(size=1, channels=group)
    _convolve_line(net, mels, mels, kernel=1024, times=length // 256)
    net.sweep(mels * length, 2 * SUM_SWEEPS, kept=mels * length, kernels=6)
    for flow in range(given["flows"]):
        if flow and flow % 4 == 0:
            channels -= 2
        _convolve_line(net, channels, channels, times=steps)
        _convolve_line(net, channels // 2, hidden, times=steps)
        for layer in range(layers):
            _convolve_line(net, hidden, 2 * hidden, kernel=3, times=steps)
            _convolve_line(net, mels * group, 2 * hidden, times=steps)
            # Sums, the gate of tanh and sigmoid, halves taken apart, and their gradients put together again.
            net.sweep(hidden * steps, 54, kept=5.0 * hidden * steps, kernels=18)
            _convolve_line(net, hidden, 2 * hidden if layer < layers - 1 else hidden, times=steps)
        _convolve_line(net, hidden, channels, times=steps)
        net.sweep(channels * steps, 40, kept=4.0 * channels * steps, kernels=30)
    return net


def _convolve_line(net: Network, inputs: int, outputs: int, *, kernel: int = 1, times: int) -> None:
    """A convolution over a line, its weights normalised anew each time (weight_norm), and a bias."""
    weights = inputs * kernel * outputs
    swept = 3.0 * times * (inputs + outputs)
    net.parts.append(Part("matmul", weights + 2 * outputs, float(weights * times), swept, times * outputs, kernels=3))
    net.parts.append(Part("elementwise", swept=float(times * outputs), fixed=5.0 * weights, kernels=3))


def _convolve_1d(net: Network, inputs: int, outputs: int, *, kernel: int, times: int) -> None:
    """A convolution over a line with a batch norm, an activation and a dropout."""
    weights = inputs * kernel * outputs
    swept = 3.0 * times * (inputs + outputs)
    net.parts.append(Part("convolution", weights + outputs, float(weights * times), swept, times * outputs, kernels=3))
    net.sweep(
        times * outputs, 1 + NORM_SWEEPS + ACTIVATION_SWEEPS + DROPOUT_SWEEPS, kept=3 * times * outputs, kernels=7
    )
    net.parts[-1] = net.parts[-1]._replace(weights=2.0 * outputs)


def _convolve_1d_in_a_loop(net: Network, characters: int, length: int) -> None:
    """Where the attention looked before, and so far: two channels to 32, in windows of 31."""
    weights = 2 * 31 * 32
    swept = 3.0 * characters * length * (2 + 32)
    net.parts.append(
        Part(
            "convolution",
            weights,
            float(weights * characters * length),
            swept,
            32.0 * characters * length,
            3 * length,
            uses=length,
        )
    )


SEQUENCE_FAMILIES: dict[str, Callable[[int, Mapping[str, Any]], Network]] = {
    "gnmt": gnmt, "transformer_xl": transformer_xl, "ncf": ncf, "tacotron2": tacotron2, "waveglow": waveglow,
}  # fmt: skip
