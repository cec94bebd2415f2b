"""Decisions -> HTML, Markdown and plots; the only place that rounds."""
