"""The command line: one module per command, one error boundary, one output sink."""
