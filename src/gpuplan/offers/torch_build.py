"""Which GPUs an interpreter's torch was built for: it is asked in a process of its own, and never imported here."""

from __future__ import annotations

import subprocess

from gpuplan.errors import UserError
from gpuplan.offers.wishes import BUILT_FOR

__all__ = ["built_for"]

QUESTION = "import torch; print('built for', *torch._C._cuda_getArchFlags().split() if torch.version.cuda else ())"
"""As torch.cuda.get_arch_list(), which answers only where there is a GPU."""
TIMEOUT_S = 120.0


def built_for(python: str) -> tuple[str, ...]:
    """The architectures in the torch of `python`, as in `sm_80 sm_90 compute_90`. Raises UserError without any."""
    try:
        done = subprocess.run(
            [python, "-c", QUESTION], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{python}: torch was not imported within {TIMEOUT_S:g} s") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{python}: cannot be started: {getattr(error, 'strerror', None) or error}") from None
    line = next((line for line in reversed(done.stdout.splitlines()) if line.startswith("built for")), None)
    if line is None:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise UserError(f"{python}: no torch to ask: {last[:200]}", hint="--torch takes the interpreter of the runs")
    found = tuple(word for word in line.split()[2:] if BUILT_FOR.fullmatch(word))
    if not found:
        raise UserError(f"{python}: its torch is built for the CPU alone", hint="install a build of torch for CUDA")
    return found
