"""`fit_scaling.py FILE.csv`: the [spread] and [[link]] entries of links.toml, fitted on all rows. It writes no file."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scaling_fit import fit_links, fit_spreads
from scaling_predict import clean, held_out, residuals
from scaling_rows import questions, read_rows

from gpuplan.data.links import links


def main() -> int:
    """Print the entries; constants of classes without rows stay as they are."""
    rows, _ = read_rows(Path(sys.argv[1]))
    asked = [question for question in questions(rows)[0] if question.row.gpu]
    for kind, around in fit_spreads(residuals(held_out(asked, hosts=False)))._asdict().items():
        print(f"[spread.{kind}]\n" + "".join(f"{name} = {value:.4g}\n" for name, value in around._asdict().items()))
    fitted, known = fit_links(clean(asked)), links()
    for name, found in fitted.items():
        each = found if found.status == "fitted" else known[name]
        source = "fit" if each.status == "fitted" else "here" if each.status == "measured" else "sheet"
        print(f'[[link]]\nname = "{name}"\nwords = "{each.words}"')
        print(f"bandwidth_bytes_per_s = {each.bandwidth_bytes_per_s / 1e9:.3g}e9\nfalls = {each.falls:g}")
        print(f"overhead = {each.overhead:.3g}\nslowdown = {each.slowdown:.3g}\nlatency_s = {each.latency_s:g}")
        print(f'rows = {each.rows}\nmodels = {each.models}\nstatus = "{each.status}"\nsource = "{source}"\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
