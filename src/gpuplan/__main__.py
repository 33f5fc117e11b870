"""`python -m gpuplan`: the same as `gpuplan`."""

from gpuplan.cli.main import main

main()
