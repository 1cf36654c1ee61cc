"""REST: the same operations for programs, with the paths and field names of the field's documents."""
