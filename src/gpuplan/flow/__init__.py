"""The verbs, wired, one file each: plan, apply, probe, live, review. Each step's work is done elsewhere.

Nothing is imported here: a plan does not pay for what a report needs.
"""
