"""A report as one HTML page that needs nothing else, or as Markdown; all text is escaped. It never writes a file.

The page has no script and asks for nothing: its styles and drawings are inside, and its own policy forbids the rest.
"""

from __future__ import annotations

import re
import string
from importlib import resources
from typing import TYPE_CHECKING

from gpuplan.report.render import as_html, as_markdown, html_text, markdown_text
from gpuplan.report.table import Column, Table, limited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuplan.report.compose import Figure, Report, Section
    from gpuplan.report.expect import Check

__all__ = ["as_page", "as_text"]

VERDICTS = {"pass": "met", "fail": "NOT met", "unknown": "unknown"}
MOST_MARKDOWN_ROWS = 10
REFERENCE = re.compile(r'(\bid="|url\(#)')


def as_page(report: Report, svgs: Mapping[str, str], *, hint: str = "") -> str:
    """The HTML page with the drawings in `svgs` (by figure key); `hint` says why there are none."""
    template = string.Template(resources.files("gpuplan.report").joinpath("templates/page.html").read_text("utf-8"))
    sections = [_html_checks(report.checks), *(_html_section(section, svgs) for section in report.sections)]
    titles = [("expectations", "Expectations")] if report.checks else []
    titles += [(section.key, section.title) for section in report.sections]
    return template.substitute(
        title=html_text(f"{report.experiment}: report"),
        when=f'<p class="when">As of {html_text(report.as_of)}</p>' if report.as_of else "",
        contents="".join(f'<li><a href="#{key}">{html_text(title)}</a></li>' for key, title in titles),
        summary="\n".join(f"<p>{html_text(sentence)}</p>" for sentence in (*report.summary, hint) if sentence),
        body="\n".join(section for section in sections if section),
    )


def as_text(report: Report, pictures: Mapping[str, str], *, hint: str = "") -> str:
    """The report as Markdown; `pictures` are the paths of the drawings by figure key."""
    parts = [f"# {markdown_text(report.experiment)}: report"]
    parts += [f"As of {markdown_text(report.as_of)}."] if report.as_of else []
    parts += ["\n".join(f"- {markdown_text(sentence)}" for sentence in (*report.summary, hint) if sentence)]
    if report.checks:
        parts += ["## Expectations", as_markdown(_check_table(report.checks))]
    for section in report.sections:
        parts += _markdown_section(section, pictures)
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _html_checks(checks: Sequence[Check]) -> str:
    if not checks:
        return ""
    items = "\n".join(
        f'<li class="{check.status}"><strong>{VERDICTS[check.status]}</strong> <code>{html_text(check.text)}</code>'
        f'<span class="why">{html_text(check.because)}</span></li>'
        for check in checks
    )
    heading = '<section aria-labelledby="expectations">\n<h2 id="expectations">Expectations</h2>'
    return f'{heading}\n<ul class="checks">\n{items}\n</ul>\n</section>'


def _html_section(section: Section, svgs: Mapping[str, str]) -> str:
    drawn = [_html_figure(figure, svgs[figure.key]) for figure in section.figures if figure.key in svgs]
    parts = [
        f'<section aria-labelledby="{section.key}">\n<h2 id="{section.key}">{html_text(section.title)}</h2>',
        *(f"<p>{html_text(sentence)}</p>" for sentence in section.text),
        *(as_html(table) for table in section.tables if table.rows),
        f'<div class="figures">\n{"".join(drawn)}</div>' if drawn else "",
        *(_html_details(table) for table in section.details if table.rows),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _html_figure(figure: Figure, svg: str) -> str:
    """The drawing with ids of its own, so that two of them on a page do not share clip paths."""
    own = REFERENCE.sub(lambda match: f"{match[0]}{figure.key}-", svg)
    label = html_text(str(figure.spec["description"]))
    own = own.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f'<figure class="figure">\n{own}\n<figcaption>{html_text(figure.title)}</figcaption>\n</figure>\n'


def _html_details(table: Table) -> str:
    return f"<details>\n<summary>{html_text(table.title)}</summary>\n{as_html(table)}</details>"


def _markdown_section(section: Section, pictures: Mapping[str, str]) -> list[str]:
    small = [limited(table, MOST_MARKDOWN_ROWS, rest="the rest is in the CSV files") for table in section.details]
    shown = [table for table in (*section.tables, *small) if table.rows]
    parts = [f"## {markdown_text(section.title)}", *(markdown_text(sentence) for sentence in section.text)]
    for table in shown:
        parts += [f"**{markdown_text(table.title)}**", as_markdown(table)]
    drawn = [figure for figure in section.figures if figure.key in pictures]
    return parts + [f"![{markdown_text(figure.title)}]({pictures[figure.key]})" for figure in drawn]


def _check_table(checks: Sequence[Check]) -> Table:
    columns = (Column("expectation", "expectation"), Column("result", "result"), Column("because", "because"))
    rows = tuple((check.text, VERDICTS[check.status], check.because) for check in checks)
    return Table("expectations", "Expectations", columns, rows)
