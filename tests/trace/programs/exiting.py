"""A program without a guard: importing it runs it."""

import sys

sys.exit("not today")
