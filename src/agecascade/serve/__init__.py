"""`agecascade serve`: pictures in over HTTP, ages out as JSON, and one page beside it. Nothing is stored."""
