"""What is there and what happened: the machine, its rates, running processes, a run's own records, how it ended.

It reads and measures; it never starts, stops or changes a run.
"""
