"""The built-in benchmarks, and how their files are found, read and checked."""
