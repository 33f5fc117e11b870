"""Hashed words: published FNV-1a values, the range of the ids, and padding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.workloads.agnews.tokenizer import PAD, encode, fnv1a, tokenize


@pytest.mark.parametrize(("word", "value"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)])
def test_fnv1a_gives_the_published_values(word: str, value: int) -> None:
    # Test vectors of the authors: http://www.isthe.com/chongo/src/fnv/test_fnv.c, 32-bit FNV-1a.
    assert fnv1a(word) == value


def test_words_are_lowered_and_split_at_blanks() -> None:
    assert encode("Oil  OIL\toil,\n", vocabulary=1000, words={}) == [
        1 + fnv1a("oil") % 999,
        1 + fnv1a("oil") % 999,
        1 + fnv1a("oil,") % 999,
    ]


@given(st.text(), st.integers(2, 50_000))
def test_no_word_is_padding_or_outside_the_vocabulary(text: str, vocabulary: int) -> None:
    ids = encode(text, vocabulary=vocabulary, words={})
    assert len(ids) == len(text.lower().split())
    assert all(PAD < identity < vocabulary for identity in ids)


def test_what_was_hashed_before_changes_nothing() -> None:
    words: dict[str, int] = {}
    assert encode("a b a", vocabulary=99, words=words) == encode("a b a", vocabulary=99, words=words)
    assert encode("b", vocabulary=99, words=words) == encode("b", vocabulary=99, words={})


def test_rows_are_cut_and_padded() -> None:
    tokens = tokenize(["a b c d", "a", ""], vocabulary=1000, sequence=3)
    long, short, empty = tokens.tolist()
    assert long == encode("a b c", vocabulary=1000, words={})
    assert short == [*encode("a", vocabulary=1000, words={}), PAD, PAD]
    assert empty == [PAD, PAD, PAD]


def test_a_lone_surrogate_is_a_word_like_any_other() -> None:
    assert encode("\udc80", vocabulary=1000, words={}) == [1 + fnv1a("\udc80") % 999]
