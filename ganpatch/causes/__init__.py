"""causes: which units cause a concept, and patches that remove or insert it.

search                single units, optimised sets, and held-out effect of a set
interventions         images with units ablated or inserted, and their segmentation
alphas                sets of units by projected gradient descent
insertion_sites       where a concept can be inserted
result, report, report_rows
                      the causes and their folder; their page; their table and JSON
concept_shares, concept_patches
                      how much of each concept images hold; a patch that removes or inserts one
"""
