"""The schema's history. Each step is safe to run while the version before it serves."""
