"""Two eval logs and a policy -> PROMOTE, HOLD or REJECT, with reasons."""
