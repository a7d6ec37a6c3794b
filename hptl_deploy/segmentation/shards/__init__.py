"""One folder on several machines: who does what, and how their results are joined."""
