"""What a run works on: files that are listed, or arrive, and what their results are called."""
