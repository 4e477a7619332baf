"""`python -m p2r_bench`."""

from p2r_bench.cli import main

main(prog_name="p2r-bench")
