"""Synth-HR: procedural high-resolution images whose decisive details vanish when they are shrunk."""

from p2r_bench.synth.metadata import SYNTHETIC_KEY
from p2r_bench.synth.rows import SIZES, Question, Row, iter_rows, questions
from p2r_bench.synth.writer import write_synth

__all__ = ["SIZES", "SYNTHETIC_KEY", "Question", "Row", "iter_rows", "questions", "write_synth"]
