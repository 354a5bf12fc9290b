"""`python -m switchyard.cli`, where the entry point is not on the path."""

from switchyard.cli import main

main()
