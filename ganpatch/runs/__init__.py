"""runs: a run folder per stage, written whole, resumed when interrupted.

ranking_run           `ganpatch rank -o run`
dissection_run        `ganpatch dissect -o run`
cause_run             `ganpatch cause -o causes`
suggestion_run        `ganpatch suggest run`
"""
