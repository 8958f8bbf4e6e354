"""evaluation: does a patch improve the images, and how strong must it be?

metrics               distances between sets of images, damage to single ones
evaluator             before, after and random-unit baselines; the verdict
tuner                 the softest edit that does it
report, tuning_report their pages
"""
