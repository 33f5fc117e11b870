"""The end of a program's log as plain lines: bounded, in any encoding, without control characters or secrets.

It never reads more than the end of a file, and never changes one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MASK", "clean_lines", "mask_secrets", "read_tail"]

TAIL_BYTES = 256 * 1024
MOST_LINES = 4000
MOST_CHARACTERS = 500
MASK = "***"

ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]?"
)
SECRETS = (
    re.compile(r"(\b\w*(?:TOKEN(?!s|iz)|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIAL)\w*"
               r"[\"']?\s*[=:]\s*[\"']?)(?!\d+\b)([^\s\"',;&]{4,})", re.IGNORECASE),
    re.compile(r"((?<!\S)--?[\w-]*(?:password|passwd|secret|(?:api|access|private)[-_]?key|auth[-_]?token)[\w-]*\s+)"
               r"(?!-|\$|\{|true\b|false\b|none\b|null\b)([^\s\"',;&]{4,})", re.IGNORECASE),
    re.compile(r"(\b(?:bearer|basic)\s+)([A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE),
    re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)(?=@)", re.IGNORECASE),
    re.compile(r"()(\b(?:hf_|sk-|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|AIza|wandb_v1_)[A-Za-z0-9_-]{10,})"),
)  # fmt: skip


def read_tail(path: Path, *, most_bytes: int = TAIL_BYTES) -> tuple[str, ...]:
    """The last lines of a log, cleaned; empty for what is no readable file."""
    try:
        if not path.is_file():
            return ()
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = max(0, size - most_bytes)
            file.seek(start - start % 2)
            content = file.read(most_bytes + 1)
    except OSError:
        return ()
    lines = clean_lines(_decode(content))
    return lines[1:] if start > 0 and len(lines) > 1 else lines


def clean_lines(text: str) -> tuple[str, ...]:
    """The lines of a text as a terminal would show them in the end, at most 500 characters each, secrets masked.

    Of a line that was written over with carriage returns, as by a progress bar, the last state is kept.
    """
    lines = [_clean(line) for line in re.split(r"\r?\n", text)[-MOST_LINES:]]
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


def mask_secrets(line: str) -> str:
    """The line with what looks like a password, token or key replaced by `***`."""
    for pattern in SECRETS:
        line = pattern.sub(rf"\1{MASK}", line)
    return line


def _clean(line: str) -> str:
    states = [state for state in line[-50 * MOST_CHARACTERS :].split("\r") if state.strip()]
    plain = ESCAPES.sub("", states[-1] if states else "").replace("\t", "    ")
    shown = "".join(character for character in plain if character.isprintable())
    masked = mask_secrets(shown).rstrip()
    return masked if len(masked) <= MOST_CHARACTERS else masked[:MOST_CHARACTERS] + "..."


def _decode(content: bytes) -> str:
    """UTF-8, or UTF-16 where every other byte is zero; what is neither is replaced."""
    for encoding, zeros in (("utf-16-le", content[1:4000:2]), ("utf-16-be", content[0:4000:2])):
        if len(zeros) > 4 and zeros.count(0) > 0.7 * len(zeros):
            return content.decode(encoding, "replace").removeprefix("\ufeff")
    return content.decode("utf-8", "replace")
