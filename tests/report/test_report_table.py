from __future__ import annotations

import csv
import io
import math
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_cases import quantity
from rich.console import Console

from gpuplan.report.render import as_csv, as_html, as_latex, as_markdown, as_rich, html_text, markdown_text
from gpuplan.report.table import Column, Spread, Table, clean, differing, limited, records, show

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b",
    "line\nbreak",
    "=HYPERLINK(0)",
    "\x1b[31mred",
    "`code` *bold* _x_ [a](b)",
    "\u202egnp.exe",
    "50% & $5 #1 {x} ~ ^ \\",
    '"quoted"',
    "\ud800",
    "\u6570\u636e \U0001f600",
    "",
]
COLUMNS = (
    Column("name", "name", "text", 9),
    Column("final_accuracy", "accuracy", "number", 8),
    Column("duration_s", "duration", "duration", 5),
    Column("peak_bytes", "memory", "bytes", 3),
)


def hostile_table() -> Table:
    rows = tuple((text, Spread(0.5, 0.01, 3), 12.5, quantity(2e9)) for text in HOSTILE)
    return Table("t", "a | <b>", COLUMNS, rows, ("a note with <b> and |",))


class Cells(HTMLParser):
    """The text of each body cell, and every tag that was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


@pytest.mark.parametrize(
    ("cell", "kind", "text"),
    [
        (None, "text", "\u2013"),
        (0.88634, "number", "0.8863"),
        (20000, "number", "20,000"),
        (1e-5, "number", "1e-05"),
        (float("nan"), "number", "nan"),
        (float("-inf"), "bytes", "-inf"),
        (0.0005, "setting", "0.0005"),
        (20000, "setting", "20000"),
        (True, "setting", "true"),
        (True, "text", "yes"),
        (1.846, "ratio", "1.85x"),
        (0.462, "percent", "46%"),
        (-0.05, "difference", "-5%"),
        (Spread(0.8863, 0.0041, 3), "number", "0.8863 \u00b1 0.0041"),
        (Spread(0.8863, None, 1), "number", "0.8863"),
        (Spread(0.26, 0.0, 3), "number", "0.26 \u00b1 0"),
        (Spread(12.3, 1.5, 3), "duration", "12.3s \u00b1 1.5s"),
        (Spread(1234.5, 321.0, 3), "number", "1,234 \u00b1 321"),
    ],
)
def test_cells_are_shown_as_people_read_them(cell: object, kind: str, text: str) -> None:
    assert show(cell, kind) == text  # type: ignore[arg-type]


def test_quantities_show_their_interval() -> None:
    assert show(quantity(100.0), "duration").startswith("1m40s (1m20s-2m00s")


def test_csv_reads_back_the_same_numbers() -> None:
    values = [0.1 + 0.2, 1e-17, 123456789.123456789, 5e300]
    table = Table("t", "t", COLUMNS[:2], tuple(("a", value) for value in values))
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [float(row["final_accuracy"]) for row in rows] == values


def test_csv_splits_spreads_and_intervals_and_keeps_the_unit_last() -> None:
    (row, *_) = csv.DictReader(io.StringIO(as_csv(hostile_table())))
    assert list(row) == [
        "name", "final_accuracy", "final_accuracy_sd", "duration_s", "peak_bytes", "peak_p10_bytes", "peak_p90_bytes",
    ]  # fmt: skip
    assert (float(row["final_accuracy_sd"]), float(row["peak_p10_bytes"])) == (0.01, 1.6e9)


def test_csv_holds_no_formula_and_no_broken_row() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(hostile_table()))))
    assert len(rows) == len(HOSTILE) + 1
    assert {len(row) for row in rows} == {7}
    assert not [row for row in rows if row[0].startswith(("=", "+", "-", "@"))]
    assert rows[4][0] == "'=HYPERLINK(0)"


def test_unknown_and_nan_are_empty_or_null() -> None:
    table = Table("t", "t", COLUMNS[:2], (("a", None), ("b", math.nan)))
    assert as_csv(table).splitlines()[1:] == ["a,", "b,"]
    assert [row["final_accuracy"] for row in records(table)] == [None, None]


def test_columns_of_one_name_are_kept_apart() -> None:
    table = Table("t", "t", (Column("x", "x"), Column("x", "x")), (("a", "b"),))
    assert records(table) == [{"x": "a", "x_2": "b"}]


def test_an_empty_table_has_its_headers() -> None:
    empty = Table("t", "t", COLUMNS, ())
    assert as_csv(empty).startswith("name,final_accuracy")
    assert as_markdown(empty).count("\n") == 2
    assert "<tbody>" in as_html(empty)
    assert as_latex(empty).count(r"\\") == 1


def test_markdown_is_a_table_whatever_is_in_it() -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(as_markdown(hostile_table()))
    rows = [token for token in tokens if token.type == "tr_open"]
    cells = [token for token in tokens if token.type in {"td_open", "th_open"}]
    assert (len(rows), len(cells)) == (len(HOSTILE) + 1, 4 * (len(HOSTILE) + 1))
    inline = [child.type for token in tokens for child in token.children or []]
    assert not {"html_inline", "link_open", "code_inline", "strong_open", "em_open"} & set(inline)


@given(st.text(max_size=40))
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    tokens = (
        MarkdownIt("commonmark").enable("table").parse(f"| a | b |\n| --- | --- |\n| {markdown_text(text)} | b |\n")
    )
    cells = [tokens[index + 1] for index, token in enumerate(tokens) if token.type == "td_open"]
    assert len(cells) == 2
    shown = "".join(child.content for child in cells[0].children or [])
    assert shown.split() == clean(text).split()


@given(st.text(max_size=40))
def test_html_shows_any_text_as_it_is(text: str) -> None:
    parser = Cells()
    parser.feed(f"<table><tr><td>{html_text(text)}</td></tr></table>")
    assert parser.rows == [[clean(text)]]
    assert parser.tags == {"table", "tr", "td"}


def test_html_escapes_cells_titles_and_notes() -> None:
    parser = Cells()
    parser.feed(as_html(hostile_table()))
    assert parser.rows[1][0] == "<script>alert(1)</script>"
    assert "script" not in parser.tags
    assert "b" not in parser.tags
    assert {len(row) for row in parser.rows} == {4}


def test_latex_escapes_its_specials() -> None:
    text = as_latex(hostile_table())
    assert r"50\% \& \$5 \#1 \{x\} \textasciitilde{} \textasciicircum{}" in text
    assert r"a\textbar{}b" in text
    assert text.count("&") - text.count(r"\&") == 3 * (len(HOSTILE) + 1)


def test_the_terminal_gets_no_control_characters() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(as_rich(hostile_table(), width=100))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert r"\x1b[31mred" in text


@pytest.mark.parametrize("width", [20, 30, 45, 60, 79, 120])
def test_narrow_terminals_lose_columns_not_digits(width: int) -> None:
    rows = (("a rather long name of a run", Spread(0.8863, 0.0041, 3), 12345.0, quantity(2e9)),)
    console = Console(width=width, file=io.StringIO())
    console.print(as_rich(Table("t", "t", COLUMNS, rows), width=width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for number in ("0.8863 \u00b1 0.0041", "3h25m", show(quantity(2e9), "bytes")):
        assert (number in text) or number[:3] not in text
    assert max(map(len, text.splitlines())) <= width
    assert ("Too narrow" in text) == (width < 70)


def test_limited_says_what_is_left_out() -> None:
    short = limited(hostile_table(), 2, rest="all are in t.csv")
    assert len(short.rows) == 2
    assert short.notes[-1] == f"The first 2 of {len(HOSTILE)} rows; all are in t.csv."
    assert limited(short, 2, rest="") is short


def test_differing_keeps_what_differs_and_notes_the_rest() -> None:
    table = Table("t", "t", COLUMNS, (("a", 1, 2.0, None), ("b", 1, 3.0, None)))
    small = differing(table, keep=())
    assert [column.key for column in small.columns] == ["name", "duration_s"]
    assert small.notes == ("The same in every row: accuracy 1.",)
    assert len(differing(table, keep=("final_accuracy",)).columns) == 3


def shown(table: Table, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(as_rich(table, width=width))
    return [line.strip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_title_and_notes_are_as_wide_as_the_screen_however_narrow_the_table_is() -> None:
    title, note = "a title that is wider than one figure", "and a note below it that is wider too"
    lines = shown(Table("t", title, (Column("n", "n", "count"),), ((1,),), (note,)), 80)
    assert (lines[0], lines[-1]) == (title, note)


@pytest.mark.parametrize("width", [45, 60, 80, 100])
def test_what_identifies_a_row_stays_whole_and_nothing_is_cut_off(width: int) -> None:
    name, change = "verda/V100-SXM2-16GB/x1/FIN-01/spot", "`bitsandbytes.optim.AdamW8bit` in place of AdamW, then last"
    columns = (Column("offer", "Offer", importance=10), Column("keeps", "Keeps"), Column("change", "Change"))
    lines = shown(Table("t", "", columns, ((name, "the same result on more hardware", change),)), width)
    assert any(line.startswith(name) for line in lines)
    kept = " ".join(lines[2].split())
    for title, last_word in (("Keeps", "hardware"), ("Change", "last")):
        assert (title in kept) == any(last_word in line for line in lines)
