"""EvalLog, prompts and decisions -> MLflow."""
