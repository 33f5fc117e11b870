"""The AG News transformer classifier of system E as a PyTorch trainer: one process, or DDP under torchrun.

Importing this package imports nothing else: torch and `datasets` are loaded when a run starts, never before.
"""
