"""Texts to ids by hashing, so that no vocabulary has to be built, stored or shared among ranks.

It never uses Python's salted `hash()`: the same word gives the same id in every process.

>>> fnv1a("a") == 0xE40C292C
True
>>> encode("Oil prices oil", vocabulary=20000, words={})
[19894, 442, 19894]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

PAD = 0
"""The id that fills a row after its last word; no word ever gets it."""

FNV_OFFSET = 2166136261
FNV_PRIME = 16777619


def tokenize(texts: Iterable[str], *, vocabulary: int, sequence: int) -> torch.Tensor:
    """Ids of all texts, (texts, sequence) of int32, cut or padded to `sequence`; done once, before the first step."""
    words: dict[str, int] = {}
    rows = [_fit(encode(text, vocabulary=vocabulary, words=words), sequence) for text in texts]
    return torch.tensor(rows, dtype=torch.int32).reshape(len(rows), sequence)


def encode(text: str, *, vocabulary: int, words: dict[str, int]) -> list[int]:
    """Ids of the words of one text; `words` remembers what was hashed before."""
    ids = []
    for word in text.lower().split():
        identity = words.get(word)
        if identity is None:
            identity = words[word] = 1 + fnv1a(word) % (vocabulary - 1)
        ids.append(identity)
    return ids


def fnv1a(word: str) -> int:
    """32-bit FNV-1a of the word's UTF-8 bytes."""
    value = FNV_OFFSET
    for byte in word.encode("utf-8", "surrogatepass"):
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFF
    return value


def _fit(ids: list[int], sequence: int) -> list[int]:
    return ids[:sequence] + [PAD] * (sequence - len(ids))
