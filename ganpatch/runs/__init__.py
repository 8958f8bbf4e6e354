"""runs: a run folder per stage, written whole, resumed when interrupted.

run_folder            the folder itself: refused, resumed or replaced as asked, locked
ranking_run           `ganpatch rank -o run`
dissection_run        `ganpatch dissect -o run`
cause_run             `ganpatch cause -o causes`
suggestion_run        `ganpatch suggest run`
fresh_pages           `ganpatch review run --page-only`
"""
