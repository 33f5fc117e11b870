from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuplan.errors import SpecError
from gpuplan.spec import spec_of
from gpuplan.spec.document import MAX_DEPTH, Document, Path, Place
from gpuplan.spec.read import MAX_BYTES, MAX_INTEGER, read_text
from gpuplan.spec.read_yaml import MAX_NODES

CALM = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
FORMATS = ("yaml", "json", "toml")

YAML = """\
name: sweep            # a comment
vary:
  lr: [1, 2]
  "size":
    - 3
    -  4
controls:
  - name: a
    settings: {x: 1}
  - {name: b}
"""
JSON = """\
{
  "name": "sweep",
  "vary": {"lr": [1, 2],
           "size": [3,
                    4]},
  "controls": [{"name": "a", "settings": {"x": 1}},
               {"name": "b"}]
}
"""
TOML = """\
name = "sweep"  # a = comment
[vary]
lr = [1, 2]
  "size" = [
    3,
    4,
  ]
[[controls]]
name = "a"
  [controls.settings]  # [not.this]
  x = 1
[[controls]]
name = 'b'
"""
VALUE = {
    "name": "sweep",
    "vary": {"lr": [1, 2], "size": [3, 4]},
    "controls": [{"name": "a", "settings": {"x": 1}}, {"name": "b"}],
}
PLACES: dict[str, dict[Path, tuple[int, int]]] = {
    "yaml": {
        ("name",): (1, 1),
        ("vary",): (2, 1),
        ("vary", "lr"): (3, 3),
        ("vary", "lr", 1): (3, 11),
        ("vary", "size"): (4, 3),
        ("vary", "size", 1): (6, 8),
        ("controls", 0): (8, 5),
        ("controls", 0, "settings", "x"): (9, 16),
        ("controls", 1): (10, 5),
        ("controls", 1, "name"): (10, 6),
    },
    "json": {
        ("name",): (2, 3),
        ("vary",): (3, 3),
        ("vary", "lr"): (3, 12),
        ("vary", "lr", 1): (3, 22),
        ("vary", "size"): (4, 12),
        ("vary", "size", 1): (5, 21),
        ("controls", 0): (6, 16),
        ("controls", 0, "settings", "x"): (6, 43),
        ("controls", 1): (7, 16),
        ("controls", 1, "name"): (7, 17),
    },
    "toml": {
        ("name",): (1, 1),
        ("vary",): (2, 1),
        ("vary", "lr"): (3, 1),
        ("vary", "lr", 1): (3, 1),
        ("vary", "size"): (4, 3),
        ("controls", 0): (8, 1),
        ("controls", 0, "name"): (9, 1),
        ("controls", 0, "settings"): (10, 3),
        ("controls", 0, "settings", "x"): (11, 3),
        ("controls", 1, "name"): (13, 1),
    },
}
TEXTS = {"yaml": YAML, "json": JSON, "toml": TOML}


def read(text: str, suffix: str = "yaml") -> Document:
    return read_text(text.encode(), f"spec.{suffix}")


def value_of(text: str) -> Any:
    return read(f"v: {text}").value["v"]


def message_of(text: str | bytes, suffix: str = "yaml") -> str:
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(SpecError) as caught:
        read_text(raw, f"spec.{suffix}")
    return caught.value.message


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_format_gives_the_same_value(suffix: str) -> None:
    assert read(TEXTS[suffix], suffix).value == VALUE


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_key_and_item_has_its_place(suffix: str) -> None:
    document = read(TEXTS[suffix], suffix)
    assert {at: tuple(document.place(at)) for at in PLACES[suffix]} == PLACES[suffix]


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_not_there_has_the_place_around_it(suffix: str) -> None:
    document = read(TEXTS[suffix], suffix)
    assert document.place(("vary", "missing", 3)) == document.place(("vary",))
    assert document.located(("controls", 1, "settings")) == f"spec.{suffix}:" + "{}:{}".format(
        *document.place(("controls", 1))
    )
    assert document.place(("missing",)).line == 1


@pytest.mark.parametrize("suffix", FORMATS)
def test_windows_line_ends_and_a_mark_change_nothing(suffix: str) -> None:
    plain = read(TEXTS[suffix], suffix)
    other = read_text(b"\xef\xbb\xbf" + TEXTS[suffix].replace("\n", "\r\n").encode(), f"spec.{suffix}")
    assert other.value == plain.value
    assert other.places == plain.places


@pytest.mark.parametrize("path", ["experiment.yaml", "experiment.yml", "experiment", "standard input", "x.JSON.bak"])
def test_what_is_not_called_json_or_toml_is_yaml(path: str) -> None:
    assert read_text(b"a: 1", path).value == {"a": 1}


# ---------------------------------------------------------------- YAML 1.2, not 1.1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 0.0005),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1_000", 1000),
        ("0x1F", 31),
        ("-0x1F", -31),
        ("0o17", 15),
        ("017", 17),
        ("9223372036854775807", MAX_INTEGER),
        ("-9223372036854775807", -MAX_INTEGER),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("y", "y"),
        ("12:30:00", "12:30:00"),
        ("1-02:00:00", "1-02:00:00"),
        ("2026-01-01", "2026-01-01"),
        ("~", None),
        ("", None),
        ("null", None),
        ("=", "="),
        ("<<", "<<"),
        ("1.2.3", "1.2.3"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("größe", "größe"),
        ('"\\u00fc\\n"', "ü\n"),
        ("|\n  a\n  b\n", "a\nb\n"),
        (">-\n  a\n  b\n", "a b"),
    ],
)
def test_what_a_yaml_word_is(text: str, value: object) -> None:
    found = value_of(text)
    assert (found, type(found)) == (value, type(value))


def test_a_value_that_begins_with_a_brace_needs_quotes() -> None:
    assert "quote a value that begins with {" in message_of("v: {size}-{seed}")
    assert value_of("'{size}-{seed}'") == "{size}-{seed}"


def test_what_is_not_finite_is_left_to_the_check() -> None:
    assert math.isnan(value_of(".nan"))
    assert value_of("[.inf, -.INF, 1e999]") == [math.inf, -math.inf, math.inf]


@pytest.mark.parametrize("text", ["!!int x", "!!bool maybe", "!!float x", "._"])
def test_a_word_that_is_not_what_its_tag_says(text: str) -> None:
    assert "that a spec can hold" in message_of(f"v: {text}")


def test_aliases_and_merge_keys() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 9}\nd: {<<: *b, <<: *a}\ne: *a"
    value = read(text).value
    assert value["c"] == {"x": 9, "y": 2, "z": 4}
    assert value["d"] == {"x": 1, "y": 3, "z": 4}
    assert value["e"] == {"x": 1, "y": 2}


def test_an_anchor_may_be_used_anew() -> None:
    assert read("a: &a 1\nb: &a 2\nc: *a").value == {"a": 1, "b": 2, "c": 2}


def test_a_mistake_in_a_merged_key_is_where_it_is_merged() -> None:
    text = "name: a\ncommand: x\ncontrols: [{name: a, settings: &s {lr: 1}}]\nsettings:\n  <<: [*s, {bad key: 1}]\n"
    with pytest.raises(SpecError, match=r"spec\.yaml:4:1: settings\.bad key: 'bad key' is not a name"):
        spec_of(read(text))


# ---------------------------------------------------------------- JSON and TOML


def test_a_key_twice_is_told_once_at_its_second_place() -> None:
    text = '{"a": {"x": 1}, "b": [{"x": 1}], "c": 1,\n "a": {"x": {"y": 1, "y": 2}},\n"c": 2}'
    with pytest.raises(SpecError) as caught:
        read(text, "json")
    assert [(problem.line, problem.column, problem.message) for problem in caught.value.problems] == [
        (2, 2, "a: written twice"),
        (3, 1, "c: written twice"),
    ]


def test_keys_are_compared_as_they_are_read() -> None:
    assert "a: written twice" in message_of('{"a": 1, "\\u0061": 2}', "json")


def test_braces_and_quotes_in_json_texts_do_not_move_places() -> None:
    text = '{"a": "{[\\",:]}\\\\", "b": ["}", "x"]}'
    document = read(text, "json")
    assert document.value == {"a": '{[",:]}\\', "b": ["}", "x"]}
    assert document.place(("b", 1)) == Place(1, text.index('"x"') + 1)


def test_toml_texts_and_arrays_do_not_look_like_keys() -> None:
    text = 'a = """\nb = 1\n[c]\n"""  # d = 1\ne = [\n  "f = 1",\n  [1],\n]\ng = \'\'\'\n[h]\'\'\'\n'
    document = read(text, "toml")
    assert document.places == {("a",): Place(1, 1), ("e",): Place(5, 1), ("g",): Place(9, 1)}


def test_toml_keys_of_every_kind() -> None:
    document = read('a.b = 1\n\'c.d\'."e f" = 2\n[g . "h"]\ni.j = 3\n[[k.l]]\n[[k.l.m]]\n[k.l.m.n]\n', "toml")
    assert list(document.places) == [
        ("a", "b"),
        ("c.d", "e f"),
        ("g", "h"),
        ("g", "h", "i", "j"),
        ("k", "l", 0),
        ("k", "l", 0, "m", 0),
        ("k", "l", 0, "m", 0, "n"),
    ]


def test_dates_of_toml_are_left_to_the_check() -> None:
    with pytest.raises(SpecError, match=r"spec\.toml:3:1: names: a text, please"):
        spec_of(read('name = "a"\ncommand = "x"\nnames = 2026-01-01', "toml"))


# ---------------------------------------------------------------- the limits that keep reading short


@pytest.mark.parametrize("suffix", FORMATS)
def test_bytes_are_counted_before_anything_is_read(suffix: str) -> None:
    whole = TEXTS[suffix].encode()
    padded = whole + b" " * (MAX_BYTES - len(whole) - 1) + b"\n"
    assert read_text(padded, f"spec.{suffix}").value == VALUE
    assert f"more than {MAX_BYTES:,} bytes" in message_of(padded + b"\n", suffix)
    assert MAX_BYTES <= 128 * 1024


def test_yaml_values_are_counted_while_they_are_read() -> None:
    fitting = MAX_NODES - 3  # beside the items: the mapping, its key, its list
    assert len(value_of(f"[{'1,' * fitting}]")) == fitting
    message = message_of(f"v: [{'1,' * (MAX_NODES + 1000)}")
    assert message == f"spec.yaml:1:{5 + 2 * fitting}: not YAML: more than 20,000 values"


def test_aliases_are_counted_each_time() -> None:
    assert "(aliases count each time)" in message_of(f"a: &a [{'1,' * 999}]\nb: [{'*a,' * 20}]")
    assert len(read(f"a: &a [{'1,' * 999}]\nb: [{'*a,' * 18}]").value["b"]) == 18


@pytest.mark.parametrize(("suffix", "start"), [("yaml", "v: "), ("json", '{"v": '), ("toml", "v = ")])
def test_levels_are_counted(suffix: str, start: str) -> None:
    end = "}" if suffix == "json" else ""
    fitting = MAX_DEPTH - 1
    assert read(start + "[" * fitting + "]" * fitting + end, suffix).value["v"]
    too_deep = start + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + end
    assert f"nested deeper than {MAX_DEPTH} levels" in message_of(too_deep, suffix)


def test_parts_of_a_toml_key_are_levels_and_dots_in_texts_are_not() -> None:
    dots = "." * 100
    text = f"a = '{dots}'\nb = \"\\\"{dots}\"  # {dots}\nc = '''\n{dots}'''\nd = [1.5, 2.5]\n{'.'.join('e' * 20)} = 1\n"
    assert list(read(text, "toml").value) == ["a", "b", "c", "d", "e"]
    assert "nested deeper than" in message_of(f"x = {{{'.'.join('a' * 60)} = 1}}", "toml")


# ---------------------------------------------------------------- whatever the text is


PIECES = st.sampled_from(
    (
        *("name: ", "command", "vary", "settings", "seeds", "ranks", "stages", "limits", "budget", "5 USD", "5e-4"),
        *(
            "[",
            "]",
            "{",
            "}",
            "[[",
            "]]",
            ",",
            "- ",
            "? ",
            ": ",
            "=",
            ".",
            "\n",
            "\n  ",
            "\n    ",
            "\r",
            "\r\n",
            "\t",
            "#",
        ),
        *("&a ", "*a", "<<: ", "!!str ", "!!int ", "!!set ", "!x ", "! ", "!<y> ", "---", "...", "|", ">", "~", "true"),
        *("%YAML 1.1\n", "%YAML 1.3\n", "%TAG ! y:\n", "'", '"', "\\", "\\U", "\\uD8", "FFFFFFFF", "'''", '"""'),
        *("\0", "\x85", "\u2028", "\ufeff", "é", "no", ".inf", ".nan", "0x1f", "._", "1e999", "2026-01-01"),
    )
)
SOUP = st.lists(PIECES, max_size=20).map("".join)
STARTS = st.sampled_from(["", "name: a\ncommand: x\n", 'name = "a"\n', '{"name": "a",'])


def refused(raw: bytes, suffix: str) -> tuple[Place, ...]:
    """Where a text is refused; another error than SpecError ends the test."""
    try:
        spec_of(read_text(raw, f"spec.{suffix}"))
    except SpecError as error:
        return tuple(Place(problem.line, problem.column) for problem in error.problems)
    return ()


@CALM
@given(SOUP, st.sampled_from(FORMATS), STARTS)
def test_no_text_ends_in_another_error(text: str, suffix: str, start: str) -> None:
    whole = start + text
    for place in refused(whole.encode(), suffix):
        assert 1 <= place.line <= len(whole.splitlines()) + 1
        assert place.column >= 1


@CALM
@given(st.binary(max_size=200), st.sampled_from(FORMATS))
def test_no_bytes_end_in_another_error(raw: bytes, suffix: str) -> None:
    assert refused(raw, suffix)


VALUES = st.recursive(
    st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="ascii")), inner, max_size=3)
    ),
    max_leaves=8,
)


@CALM
@given(st.dictionaries(st.text(st.characters(codec="ascii")), VALUES, max_size=4), st.sampled_from([None, 2]))
def test_json_is_read_as_it_was_written(value: dict[str, Any], indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if "\\u0000" in text:
        assert "it holds a character that no command line can carry" in message_of(text, "json")
        return
    document = read(text, "json")
    assert document.value == value
    for at, place in document.places.items():
        shown = text.split("\n")[place.line - 1][place.column - 1 :]
        key = isinstance(at[-1], str) if at else False
        assert not key or shown.startswith(json.dumps(at[-1], ensure_ascii=False))
