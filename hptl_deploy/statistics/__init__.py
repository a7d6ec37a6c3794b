"""What the fields of a run say together: means with their intervals, and sizes of particles."""
