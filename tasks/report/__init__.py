"""Decisions -> HTML, Markdown and rows for plots; the only place that rounds."""
