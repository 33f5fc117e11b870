"""A table as Markdown, CSV, LaTeX, HTML or a terminal's table; every text in it is escaped. It never writes a file."""

from __future__ import annotations

import csv
import html
import io
import re
import textwrap
from typing import TYPE_CHECKING

from gpuplan.report.table import UNKNOWN, clean, records, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Group
    from rich.table import Table as RichTable

    from gpuplan.report.table import Column, Raw, Table

__all__ = ["as_csv", "as_html", "as_latex", "as_markdown", "as_rich", "html_text", "latex_text", "markdown_text"]

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes a cell that opens with one of these for a formula."""

MARKDOWN_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", UNKNOWN: "--",
}  # fmt: skip
NARROWEST_TEXT = 20
LONGEST_NAME = 40
"""Names of runs and offers, in the first column, stay whole up to this length: they are copied from the screen."""
PADDING = 3
"""Between two columns, as rich draws them."""


def as_markdown(table: Table) -> str:
    """A GitHub-flavoured table with its notes below; its title is the caller's heading."""
    lines = [
        _markdown_row(column.title for column in table.columns),
        _markdown_rule(table.columns),
        *(_markdown_row(row) for row in _shown(table)),
    ]
    notes = [f"\n{markdown_text(note)}" for note in table.notes]
    return "\n".join([*lines, *notes]) + "\n"


def as_csv(table: Table) -> str:
    """Raw numbers under keys that carry the unit; unknown is empty; no cell can be taken for a formula."""
    rows = records(table)
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow([_csv_value(name) for name in (rows[0] if rows else [column.key for column in table.columns])])
    writer.writerows([_csv_value(value) for value in row.values()] for row in rows)
    return output.getvalue()


def as_latex(table: Table) -> str:
    """A `table` environment with booktabs rules, ready to be included."""
    align = "".join("l" if column.align == "left" else "r" for column in table.columns)
    header = " & ".join(latex_text(column.title) for column in table.columns)
    body = [" & ".join(latex_text(text) for text in row) + r" \\" for row in _shown(table)]
    notes = [rf"\par\footnotesize {latex_text(note)}" for note in table.notes]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_text(table.title)}}}",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            rf"{header} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *notes,
            r"\end{table}",
            "",
        ]
    )


def as_html(table: Table) -> str:
    """A captioned table in a box that scrolls by itself; the first column heads its row."""
    head = "".join(f'<th scope="col"{_html_class(column)}>{html_text(column.title)}</th>' for column in table.columns)
    body = "\n".join(_html_row(table.columns, row) for row in _shown(table))
    notes = "".join(f'<p class="note">{html_text(note)}</p>\n' for note in table.notes)
    label = html_text(table.title)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">\n<table>\n<caption>{label}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n{notes}"
    )


def as_rich(table: Table, *, width: int) -> Group:
    """For the terminal: the least important columns go first when it is narrow, and no figure is ever broken.

    Title and notes take the whole width, however narrow the table between them is.
    """
    from rich.console import Group  # noqa: PLC0415  40 ms that only a terminal needs
    from rich.text import Text  # noqa: PLC0415

    shown = _shown(table)
    needs = [_needed(column, [row[index] for row in shown], longest_word=0 if index else LONGEST_NAME)
             for index, column in enumerate(table.columns)]  # fmt: skip
    kept = _fitting(table.columns, needs, width=width)
    left_out = [column.title for index, column in enumerate(table.columns) if index not in kept]
    notes = [*table.notes, *([f"Too narrow for: {', '.join(left_out)}."] if left_out else [])]
    below = [Text("\n".join(clean(note) for note in notes), style="table.caption")] if notes else []
    grid = _grid([table.columns[index] for index in kept], [[row[index] for index in kept] for row in shown],
                 needs=[needs[index] for index in kept], width=width)  # fmt: skip
    return Group(Text(clean(table.title), style="table.title"), grid, *below)


def _grid(columns: Sequence[Column], shown: list[list[str]], *, needs: list[int], width: int) -> RichTable:
    from rich import box  # noqa: PLC0415
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    texts = [[row[index] for row in shown] for index in range(len(columns))]
    titles = [_wrapped(column.title, cells) for column, cells in zip(columns, texts, strict=True)]
    widest = [_cells([*title.split("\n"), *cells]) for title, cells in zip(titles, texts, strict=True)]
    for column, title, cells in zip(columns, titles, _widened(needs, widest, width=width), strict=True):
        no_wrap = column.kind != "text"
        grid.add_column(Text(title), justify=column.align, no_wrap=no_wrap, width=cells, overflow="fold")
    for row in shown:
        grid.add_row(*(Text(text) for text in row))
    return grid


def markdown_text(text: str) -> str:
    """The text so that Markdown shows it as it is, in a table too."""
    escaped = clean(text).replace("&", "&amp;").replace("<", "&lt;")
    escaped = "&gt;" + escaped[1:] if escaped.startswith(">") else escaped
    return MARKDOWN_SPECIAL.sub(lambda match: "\\" + match[0], escaped)


def html_text(text: str) -> str:
    """The text so that HTML shows it as it is, in an attribute too."""
    return html.escape(clean(text))


def latex_text(text: str) -> str:
    """The text so that LaTeX sets it as it is."""
    return "".join(LATEX_SPECIAL.get(char, char) for char in clean(text))


def _shown(table: Table) -> list[list[str]]:
    return [[show(cell, column.kind) for cell, column in zip(row, table.columns, strict=True)] for row in table.rows]


def _markdown_row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(markdown_text(text) for text in texts) + " |"


def _markdown_rule(columns: Sequence[Column]) -> str:
    return "| " + " | ".join("---" if column.align == "left" else "---:" for column in columns) + " |"


def _unformula(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _csv_value(value: Raw) -> Raw:
    return _unformula(clean(value)) if isinstance(value, str) else value


def _html_class(column: Column) -> str:
    return ' class="figure-cell"' if column.align == "right" else ""


def _html_row(columns: Sequence[Column], texts: Sequence[str]) -> str:
    first = f'<th scope="row"{_html_class(columns[0])}>{html_text(texts[0])}</th>'
    rest = (
        f"<td{_html_class(column)}>{html_text(text)}</td>" for column, text in zip(columns[1:], texts[1:], strict=True)
    )
    return f"<tr>{first}{''.join(rest)}</tr>"


def _fitting(columns: Sequence[Column], needs: list[int], *, width: int) -> list[int]:
    """The columns that fit beside each other, in order; the first always stays."""
    kept = list(range(len(columns)))
    while len(kept) > 1 and sum(needs[index] + PADDING for index in kept) > width:
        kept.remove(min(kept[1:], key=lambda index: (columns[index].importance, -index)))
    return kept


def _widened(needs: list[int], widest: list[int], *, width: int) -> list[int]:
    """Cells of each column: what it needs at least; of what is left the narrowest gets more until none lacks any."""
    cells = [max(1, min(needed, width - PADDING)) for needed in needs]
    for _ in range(width + 1 - sum(cells) - PADDING * len(cells)):
        lacking = [index for index in range(len(cells)) if cells[index] < widest[index]]
        if not lacking:
            break
        cells[min(lacking, key=lambda index: cells[index])] += 1
    return cells


def _needed(column: Column, texts: list[str], *, longest_word: int) -> int:
    """The cells that a column takes at least: figures whole, text folded, but words up to `longest_word` whole."""
    lines = [line for text in [_wrapped(column.title, texts), *texts] for line in text.split("\n")]
    widest = _cells(lines)
    if column.kind != "text":
        return widest
    word = min(_cells(word for line in lines for word in line.split()), longest_word)
    return min(widest, max(NARROWEST_TEXT, word))


def _wrapped(title: str, texts: Iterable[str]) -> str:
    """The heading broken at words, so that it is not much wider than what stands below it."""
    words = clean(title).split()
    return "\n".join(textwrap.wrap(clean(title), width=max(_cells(texts), _cells(words), 8)))


def _cells(texts: Iterable[str]) -> int:
    from rich.cells import cell_len  # noqa: PLC0415

    return max((cell_len(text) for text in texts), default=0)
