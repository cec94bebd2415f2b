"""Suite -> retrieve -> answer -> measures -> EvalLog."""
