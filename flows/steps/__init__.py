"""The steps of the nightly run as plain functions: Prefect tasks and DVC stages both call these.

A step opens what it needs, calls the core, stores the result under its digest, and returns a
reference. Called again with the same input it finds the result, so a killed run continues.
"""
