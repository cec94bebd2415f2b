"""The application under test: a release answers a question from retrieved passages."""
