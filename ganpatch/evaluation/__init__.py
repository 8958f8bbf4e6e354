"""evaluation: does a patch improve the images, and how strong must it be?

evaluator             before, after and random-unit baselines; the one function that the others serve
target_pictures       the right output of each picture that goes in
references            what images are compared with: targets, real images, or the typical half
measuring             the passes over the images: features, errors, how active the units are
baselines             the same edits of random units
metrics               distances between sets of images, damage to single ones
verdict               better, mixed, no change, not shown, worse; and the sentence
judging, pairs, judge_page
                      pairs compared by eye: what is counted, what is drawn, the page
tuner                 the softest edit that does it
report, tuning_report their pages
patch_results         where results go: reports, evidence, new patches, folders of pairs
"""
