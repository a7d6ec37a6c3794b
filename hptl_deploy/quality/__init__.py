"""What is doubtful about a field: figures and flags beside the numbers. Nothing is dropped."""
