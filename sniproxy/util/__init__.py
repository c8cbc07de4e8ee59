"""Small helpers that all packages may import."""
