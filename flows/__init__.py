"""When, in which order and with which retries: everything Prefect, and the command line."""
