"""The asynchronous pipeline that runs a mode over a task, from samples to a run folder."""
