"""`python -m gpuslice`."""

from gpuslice.cli.main import main

main()
