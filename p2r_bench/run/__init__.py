"""Running a mode over a task: the asynchronous pipeline from samples to a run folder."""
