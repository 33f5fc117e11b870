"""Networks over words and clicks in plain PyTorch, as NVIDIA trains them; the forward pass ends in a loss.

Runs in the tracer's child: it imports torch alone, and never gpuplan. All rows are as long as the longest, so nothing
is padded; each cluster of an adaptive softmax gets its fixed share of the tokens; nothing is compiled.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch
from agreement_recurrent import recurrent
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SEQUENCES"]

DEVICE = "cuda"


class Neumf(nn.Module):
    """Matrix factorisation beside a perceptron (arXiv 1708.05031); a row is a pair of a user and an item."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        self.users, self.items, factors = shape["users"], shape["items"], shape["factors"]
        widths = shape["widths"]
        sizes = [factors, widths[0] // 2]
        self.of_user = nn.ModuleList(nn.Embedding(self.users, size) for size in sizes)
        self.of_item = nn.ModuleList(nn.Embedding(self.items, size) for size in sizes)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.last = nn.Linear(factors + widths[-1], 1)

    def batch(self, rows: int, _: int) -> tuple[Tensor, ...]:
        users, items = (torch.randint(count, (rows,), device=DEVICE) for count in (self.users, self.items))
        return users, items, torch.rand(rows, 1, device=DEVICE)

    def forward(self, users: Tensor, items: Tensor, clicked: Tensor) -> Tensor:
        product = self.of_user[0](users) * self.of_item[0](items)
        hidden = torch.cat([self.of_user[1](users), self.of_item[1](items)], 1)
        for layer in self.layers:
            hidden = functional.dropout(functional.relu(layer(hidden)), 0.5)
        logits = self.last(torch.cat([product, hidden], 1))
        return functional.binary_cross_entropy_with_logits(logits, clicked)


class AdditiveAttention(nn.Module):
    """Scores from the sum of every query and every key (arXiv 1409.0473), normalised; it returns the context."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.direction, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        queries, memory = queries.transpose(0, 1), memory.transpose(0, 1)
        sums = self.query(queries).unsqueeze(2) + self.key(memory).unsqueeze(1) + self.bias
        scores = torch.tanh(sums) @ (self.direction / self.direction.norm() * self.scale)
        scores = scores.masked_fill(torch.zeros_like(scores, dtype=torch.bool), -65504.0)
        return torch.bmm(functional.softmax(scores, -1), memory).transpose(0, 1)


class Gnmt(nn.Module):
    """Google's translator (arXiv 1609.08144): the encoder's first layer runs in both directions."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        width, self.words, layers = shape["hidden"], shape["vocabulary"], shape["layers"]
        self.embedding = nn.Embedding(self.words, width)
        self.encoder = nn.ModuleList([recurrent(shape, width, width, both=True), recurrent(shape, 2 * width, width)])
        self.encoder.extend(recurrent(shape, width, width) for _ in range(layers - 2))
        self.attending, self.attention = recurrent(shape, width, width), AdditiveAttention(width)
        self.decoder = nn.ModuleList(recurrent(shape, 2 * width, width) for _ in range(layers - 1))
        self.head, self.dropout = nn.Linear(width, self.words), nn.Dropout(0.2)

    def batch(self, rows: int, size: int) -> tuple[Tensor, ...]:
        source, target = (torch.randint(self.words, (size, rows), device=DEVICE) for _ in range(2))
        return source, target

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory = self.embedding(source)
        for number, layer in enumerate(self.encoder):
            made = layer(self.dropout(memory))
            memory = made + memory if number > 1 else made
        hidden = self.attending(self.embedding(target))
        context = self.attention(hidden, memory)
        for number, layer in enumerate(self.decoder):
            made = layer(torch.cat([self.dropout(hidden), context], 2))
            hidden = made + hidden if number else made
        return self.smoothed_loss(self.head(hidden).view(-1, self.words), target.view(-1, 1))

    def smoothed_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        logs = functional.log_softmax(logits, -1, dtype=torch.float32)
        return -(0.9 * logs.gather(1, target).squeeze(1) + 0.1 * logs.mean(-1)).sum()


class RelativeLayer(nn.Module):
    """Attention by content and by distance over this and the segment before, then a feed-forward; norms come last."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner, dropout = shape["hidden"], shape["feedforward"], dropout_of(shape)
        self.heads, self.size = shape["heads"], shape["head_dim"]
        queries = self.heads * self.size
        self.projection = nn.Linear(width, 3 * queries, bias=False)
        self.positions = nn.Linear(width, queries, bias=False)
        self.output = nn.Linear(queries, width, bias=False)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout, self.of_scores = nn.Dropout(dropout), nn.Dropout(dropout if dropout_of_scores(shape) else 0.0)

    def forward(self, hidden: Tensor, memory: Tensor, positions: Tensor, biases: tuple[Tensor, Tensor],
                mask: Tensor) -> Tensor:  # fmt: skip
        mixed = self.dropout(self.output(self.attend(hidden, memory, positions, biases, mask)))
        hidden = self.norms[0](hidden + mixed)
        inner = self.dropout(functional.relu(self.up(hidden), inplace=True))
        return cast("Tensor", self.norms[1](hidden + self.dropout(self.down(inner))))

    def attend(self, hidden: Tensor, memory: Tensor, positions: Tensor, biases: tuple[Tensor, Tensor],
               mask: Tensor) -> Tensor:  # fmt: skip
        length, rows = hidden.shape[:2]
        projected = self.projection(torch.cat([memory, hidden]))
        query, key, value = (part.unflatten(-1, (self.heads, self.size)) for part in projected.chunk(3, -1))
        query, place = query[-length:], self.positions(positions).view(-1, self.heads, self.size)
        by_content = torch.einsum("ibnd,jbnd->bnij", query + biases[0], key)
        by_place = shifted(torch.einsum("ibnd,jnd->bnij", query + biases[1], place))
        scores = self.size**-0.5 * (by_content + by_place)
        weights = self.of_scores(functional.softmax(scores.masked_fill_(mask, -torch.inf), 3))
        return torch.einsum("bnij,jbnd->ibnd", weights, value).contiguous().view(length, rows, -1)


def shifted(scores: Tensor) -> Tensor:
    """Each row by one more than the row after it, so that columns of distances become columns of keys."""
    rows, heads, queries, keys = scores.shape
    padded = torch.cat([scores.new_zeros(rows, heads, queries, 1), scores], 3)
    return padded.view(rows, heads, keys + 1, queries).narrow(2, 1, keys).view_as(scores)


def dropout_of_scores(shape: Mapping[str, Any]) -> bool:
    return bool(shape.get("dropout_of_scores"))


def dropout_of(shape: Mapping[str, Any]) -> float:
    return 0.2 if dropout_of_scores(shape) else 0.1


class Words(nn.Module):
    """Embedding and softmax over clusters of words, with one table for both.

    One table for all where their widths are equal; else a narrower one for each, and a matrix that widens it.
    """

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        width, clusters = shape["hidden"], shape["clusters"]
        self.width, self.counts = width, [cluster["words"] for cluster in clusters]
        self.shares = [max(1, round(cluster["share"] * shape["size"])) for cluster in clusters]
        self.whole = all(cluster["width"] == width for cluster in clusters)
        sizes = [(sum(self.counts), width)] if self.whole else [(one["words"], one["width"]) for one in clusters]
        self.tables = nn.ModuleList(nn.Embedding(*size) for size in sizes)
        self.biases = nn.ParameterList(torch.zeros(rows) for rows, _ in sizes)
        narrow = [] if self.whole else [cluster["width"] for cluster in clusters]
        self.widening = nn.ParameterList(torch.zeros(width, size) for size in narrow)
        self.first = nn.Parameter(torch.zeros(width, narrow[0])) if narrow else None
        rare = len(clusters) - 1
        self.rare = nn.Parameter(torch.zeros(rare, width)) if rare else None
        self.rare_bias = nn.Parameter(torch.zeros(rare)) if rare else None

    def look_up(self, ids: Tensor) -> Tensor:
        if self.whole:
            found = cast("Tensor", self.tables[0](ids))
        else:
            flat = ids.view(-1)
            found = torch.zeros(len(flat), self.width, device=DEVICE)
            for at, table, matrix in zip(self.places(ids), self.tables, self.widening, strict=True):
                widened = functional.linear(table(flat.index_select(0, at)), matrix)
                found.index_copy_(0, at, widened.to(found.dtype))
            found = found.view(*ids.shape, -1)
        return found.mul_(self.width**0.5)

    def places(self, ids: Tensor) -> list[Tensor]:
        """Which tokens are in each cluster."""
        counts = [share * ids.shape[1] for share in self.shares[1:]]
        ends = [ids.numel() - sum(counts[number:]) for number in range(len(counts) + 1)]
        starts = [0, *ends[:-1]]
        return [torch.arange(start, end, device=DEVICE) for start, end in zip(starts, ends, strict=True)]

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        flat, right = hidden.view(-1, self.width), targets.view(-1, 1)
        logs = functional.log_softmax(self.logits(0, flat), -1)
        if self.rare is None:
            return -logs.gather(1, right).mean()
        losses = []
        for number, at in enumerate(self.places(targets)):
            found = logs.index_select(0, at)
            if number == 0:
                losses.append(found.gather(1, right.index_select(0, at)))
                continue
            within = functional.log_softmax(self.logits(number, flat.index_select(0, at)), -1)
            losses.append(found[:, -number].unsqueeze(1) + within.gather(1, right.index_select(0, at)))
        return -torch.cat(losses).mean()

    def logits(self, number: int, hidden: Tensor) -> Tensor:
        weight, bias = self.outputs(number)
        if self.whole:
            return functional.linear(hidden, weight, bias)
        matrix = cast("Tensor", self.first if number == 0 else self.widening[number])
        return hidden @ matrix @ weight.t() + bias

    def outputs(self, number: int) -> tuple[Tensor, Tensor]:
        """Rows and biases of a cluster; the first has one more for each of the others."""
        table = cast("nn.Embedding", self.tables[0 if self.whole else number])
        start = sum(self.counts[:number]) if self.whole else 0
        rows = slice(start, start + self.counts[number])
        weight, bias = table.weight[rows], self.biases[0 if self.whole else number][rows]
        if number or self.rare is None or self.rare_bias is None:
            return weight, bias
        return torch.cat([weight, self.rare]), torch.cat([bias, self.rare_bias])


class TransformerXl(nn.Module):
    """A language model that reads what its layers made of the segment before (arXiv 1901.02860)."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        self.words = Words(shape)
        self.layers = nn.ModuleList(RelativeLayer(shape) for _ in range(shape["layers"]))
        self.biases = nn.ParameterList(torch.zeros(shape["heads"], shape["head_dim"]) for _ in range(2))
        self.dropout, self.memory, self.width = nn.Dropout(dropout_of(shape)), shape["memory"], shape["hidden"]
        self.memories: Tensor | None = None

    def batch(self, rows: int, size: int) -> tuple[Tensor, ...]:
        """Which words a cluster's tokens are is all the same: each is one that every cluster has."""
        ids, targets = (torch.randint(min(self.words.counts), (size, rows), device=DEVICE) for _ in range(2))
        return ids, targets

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        length, rows = ids.shape
        hidden = self.dropout(self.words.look_up(ids))
        if self.memories is None:
            self.memories = torch.zeros(len(self.layers), self.memory, rows, self.width, device=DEVICE)
        positions = self.dropout(distances(length + self.memory, self.width))
        mask = torch.ones(length, length + self.memory, device=DEVICE).triu(1 + self.memory).bool()
        made = []
        for layer, memory in zip(self.layers, self.memories, strict=True):
            made.append(hidden.detach())
            hidden = layer(hidden, memory, positions, tuple(self.biases), mask)
        read = torch.stack(made)
        if length != self.memory:
            read = torch.cat([self.memories, read], 1)[:, -self.memory :]
        self.memories = read.detach()
        return self.words.loss(self.dropout(hidden), targets)


def distances(count: int, width: int) -> Tensor:
    """Sines and cosines of how far back each key lies."""
    frequencies = 10_000.0 ** (-torch.arange(0, width, 2, device=DEVICE) / width)
    angles = torch.outer(torch.arange(count - 1.0, -1.0, -1.0, device=DEVICE), frequencies)
    return torch.cat([angles.sin(), angles.cos()], -1).unsqueeze(1)


SEQUENCES: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "ncf": Neumf, "gnmt": Gnmt, "transformer_xl": TransformerXl,
}  # fmt: skip
