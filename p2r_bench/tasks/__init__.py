"""The built-in benchmarks, and the code that finds, reads and checks their files."""
