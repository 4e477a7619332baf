"""What a run leaves on disk: journal, parquet files, manifest and the leaderboard."""
