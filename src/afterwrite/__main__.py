"""`python -m afterwrite`."""

from afterwrite.cli import main

main()
