"""Further result formats, written where `--also` asks for them: for Fiji, QuPath and others."""
