"""Files of a run: journal, parquet files, manifest, and the leaderboard of all runs."""
