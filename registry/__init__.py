"""Which release is live, who promoted it and why."""
