"""`python -m plantwatch.cli`: the command, where it is not on the path."""

from plantwatch.cli.main import main

main()
