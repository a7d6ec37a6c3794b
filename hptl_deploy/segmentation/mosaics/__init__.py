"""Pages that are too large to be held: cut into bands, kept on disk, put together."""
