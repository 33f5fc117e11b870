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

LOGITS = 3
"""Of a loss over a vocabulary: log-probabilities, their gradient and that of the logits, all in fp32."""


def gnmt(length: int, given: Mapping[str, Any]) -> Network:
    """Google's translator as NVIDIA trains it: LSTMs with attention, the encoder's first layer in both directions."""
    hidden, vocabulary, layers = given["hidden"], given["vocabulary"], given["layers"]
    net = Network(size=1, channels=hidden)
    net.look_up(vocabulary, hidden, times=2 * length, uses=2)
    for inputs in (hidden, hidden, 2 * hidden, *[hidden] * (layers - 2)):
        _recurrent_layer(net, inputs, hidden, length)
    net.recur(hidden, hidden, times=length)
    _additive_attention(net, hidden, length)
    for _ in range(layers - 1):
        _recurrent_layer(net, 2 * hidden, hidden, length)
    net.multiply(vocabulary, times=length, inputs=hidden, keeps=False)
    # Label smoothing: beside the loss a mean over all classes, and its gradient.
    net.sweep(length * vocabulary, 2, full=LOSS_SWEEPS + 3, logits=LOGITS + 1, kernels=16)
    return net


def _recurrent_layer(net: Network, inputs: int, hidden: int, length: int) -> None:
    """With the dropout of its input, and a sum or a joining with the attention's context."""
    net.recur(inputs, hidden, times=length)
    net.sweep(length * inputs, DROPOUT_SWEEPS + 2 * SUM_SWEEPS, kept=1.25 * length * inputs, kernels=6)


def _additive_attention(net: Network, hidden: int, length: int) -> None:
    """Every query with every key: their sum and a bias in fp32, tanh, a product with a vector, and back."""
    pairs = length * length * hidden
    net.multiply(hidden, bias=False, times=length, inputs=hidden)
    net.multiply(hidden, bias=False, times=length, inputs=hidden)
    net.attend(width=hidden, length=length, source=length)
    net.parts.append(Part("matmul", swept=2.0 * pairs, kernels=2))
    net.sweep(pairs, 5, full=7, casts=1.5, kept=pairs, kernels=20, weights=2.0 * hidden + 1)


def transformer_xl(length: int, given: Mapping[str, Any]) -> Network:
    """Attention with relative positions over this and the segment before."""
    width, clusters = given["hidden"], given["clusters"]
    net = Network(size=1, channels=width)
    for cluster in clusters:
        times = _tokens(cluster, length)
        net.look_up(cluster["words"], cluster["width"], times=times)
        if _narrowed(given):
            net.multiply(width, bias=False, times=times, inputs=cluster["width"])
    biases = 2.0 * given["heads"] * given["head_dim"]
    net.sweep(length * width, 2 * DROPOUT_SWEEPS, full=4, kernels=12, weights=biases)
    for _ in range(given["layers"]):
        _relative_layer(net, length, given)
    _adaptive_head(net, length, given)
    return net


def _tokens(cluster: Mapping[str, Any], length: int) -> int:
    share: float = cluster["share"]
    return max(1, round(share * length))


def _narrowed(given: Mapping[str, Any]) -> bool:
    """Whether rarer words have narrower rows: then each cluster has a table of its own, and a matrix to widen them."""
    return any(cluster["width"] != given["hidden"] for cluster in given["clusters"])


def _relative_layer(net: Network, length: int, given: Mapping[str, Any]) -> None:
    width, inner, source = given["hidden"], given["feedforward"], length + given["memory"]
    queries, scores = given["heads"] * given["head_dim"], given["heads"] * length * source
    net.multiply(3 * queries, bias=False, times=source, inputs=width)
    net.parts.append(Part("matmul", weights=width * queries, kernels=3))  # of the positions, which all rows share
    products = 3.0 * ((length + source) * queries + scores)
    net.parts += 3 * [Part("attention", macs=float(length * source * queries), swept=products, kernels=3)]
    dropout = DROPOUT_SWEEPS if given.get("dropout_of_scores") else 0.0
    net.sweep(scores, 21 + dropout, full=4, casts=1, kept=(2.25 if dropout else 1) * scores, kernels=22)
    net.multiply(width, bias=False, times=length, inputs=queries)
    net.sweep(source * queries, 35, casts=1, kept=source * queries, kernels=26)
    net.multiply(inner, times=length, inputs=width)
    net.multiply(width, times=length, inputs=inner)
    net.sweep(length * inner, ACTIVATION_SWEEPS + DROPOUT_SWEEPS, kept=1.25 * length * inner, kernels=4)
    net.sweep(
        length * width, 2 * DROPOUT_SWEEPS, full=2 * (NORM_SWEEPS + 2 * SUM_SWEEPS), casts=4,
        kept=2.5 * length * width, kernels=16, weights=4.0 * width,
    )  # fmt: skip


def _adaptive_head(net: Network, length: int, given: Mapping[str, Any]) -> None:
    """The loss over the frequent words for every token; rarer clusters are read by the few tokens in them."""
    width, clusters = given["hidden"], given["clusters"]
    rarer = len(clusters) - 1
    for number, cluster in enumerate(clusters):
        times = _tokens(cluster, length) if number else length
        outputs = cluster["words"] + (0 if number else rarer)
        if _narrowed(given):
            net.multiply(cluster["width"], bias=False, times=times, inputs=width, tied=number > 0)
        net.multiply(outputs, times=times, inputs=cluster["width"], tied=True, keeps=False)
        # A bias that is added after two products is no part of the second.
        sums = 1 if _narrowed(given) else 0
        net.sweep(times * outputs, 2 + sums, full=LOSS_SWEEPS - 2 + sums, logits=LOGITS, kernels=12)
    if rarer:
        _choose(net, length, given)


def _choose(net: Network, length: int, given: Mapping[str, Any]) -> None:
    """Each cluster takes its tokens' rows, and a gradient as large as all rows comes back from each.

    The same holds for a table that all clusters are slices of.
    """
    width, clusters = given["hidden"], given["clusters"]
    count, table = len(clusters), sum(cluster["words"] for cluster in clusters) * width
    rows = length * (clusters[0]["words"] + count - 1)
    net.sweep(rows, full=5 + count + SUM_SWEEPS * (count - 1), kernels=8 * count, weights=float(width * (count - 1)))
    if not _narrowed(given):
        slices = count + 1 + SUM_SWEEPS * (count - 1)
        net.parts.append(Part("elementwise", fixed=float(slices * table), kernels=3 * count))


def ncf(_: int, given: Mapping[str, Any]) -> Network:
    """Matrix factorisation beside a perceptron (NeuMF); a row is one pair of a user and an item."""
    factors, widths = given["factors"], given["widths"]
    net = Network(size=1, channels=factors)
    for rows in (given["users"], given["items"]):
        net.look_up(rows, factors)
        net.look_up(rows, widths[0] // 2, keeps=False)
    net.sweep(factors, full=3 * SUM_SWEEPS, kernels=3)
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
        net.multiply(4 * cell, bias=False, times=length, inputs=inputs, uses=length, keeps=False)
        net.multiply(4 * cell, bias=False, times=length, inputs=cell, uses=length, keeps=False)
        net.sweep(length * cell, 44, kept=8 * length * cell, kernels=14 * length, weights=8.0 * cell)
    net.multiply(keys, bias=False, times=length, inputs=cell, uses=length)
    _convolve_1d_in_a_loop(net, characters, length)
    net.multiply(keys, bias=False, times=seen, inputs=32, uses=length, keeps=False)
    net.sweep(seen * keys, 14, kept=seen * keys, kernels=20 * length)
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
    _convolve_line(net, mels, mels, kernel=1024, times=length // 256, normed=False)
    net.sweep(mels * length, 2 * SUM_SWEEPS, kept=mels * length, kernels=6)
    for flow in range(given["flows"]):
        if flow and flow % 4 == 0:
            channels -= 2
        _convolve_line(net, channels, channels, times=steps, normed=False, bias=False)
        _convolve_line(net, channels // 2, hidden, times=steps)
        for layer in range(layers):
            _convolve_line(net, hidden, 2 * hidden, kernel=3, times=steps)
            _convolve_line(net, mels * group, 2 * hidden, times=steps)
            # Sums, the gate of tanh and sigmoid, halves taken apart, and their gradients put together again.
            net.sweep(hidden * steps, 54, kept=4.0 * hidden * steps, kernels=18)
            _convolve_line(net, hidden, 2 * hidden if layer < layers - 1 else hidden, times=steps)
        _convolve_line(net, hidden, channels, times=steps, normed=False)
        net.sweep(channels * steps, 40, kept=4.0 * channels * steps, kernels=30)
    return net


def _convolve_line(
    net: Network, inputs: int, outputs: int, *, kernel: int = 1, times: int, normed: bool = True, bias: bool = True
) -> None:
    """A convolution over a line; if `normed`, weight_norm makes its weights anew each time."""
    weights, made = inputs * kernel * outputs, times * outputs
    own = weights + (normed + bias) * outputs
    net.parts.append(Part("matmul", own, float(weights * times), 3.0 * (times * inputs + made), kernels=3))
    net.parts.append(Part("elementwise", swept=float(bias * made), fixed=5.0 * normed * weights, kernels=3))


def _convolve_1d(net: Network, inputs: int, outputs: int, *, kernel: int, times: int) -> None:
    """A convolution over a line with a batch norm, an activation and a dropout."""
    weights, made = inputs * kernel * outputs, times * outputs
    swept = 3.0 * (times * inputs + made)
    net.parts.append(Part("convolution", weights + outputs, float(weights * times), swept, made, kernels=3))
    sweeps = 1 + NORM_SWEEPS + ACTIVATION_SWEEPS + DROPOUT_SWEEPS
    net.sweep(made, sweeps, kept=3 * made, kernels=7, weights=2.0 * outputs)


def _convolve_1d_in_a_loop(net: Network, characters: int, length: int) -> None:
    """Where the attention looked before, and so far: two channels to 32, in windows of 31."""
    weights, seen = 2 * 31 * 32, float(characters * length)
    swept, made = 3 * (2 + 32) * seen, 32 * seen
    net.parts.append(Part("convolution", weights, weights * seen, swept, made, kernels=3 * length, uses=length))


SEQUENCE_FAMILIES: dict[str, Callable[[int, Mapping[str, Any]], Network]] = {
    "gnmt": gnmt, "transformer_xl": transformer_xl, "ncf": ncf, "tacotron2": tacotron2, "waveglow": waveglow,
}  # fmt: skip
