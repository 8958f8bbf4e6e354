"""finding: which units draw artifacts, one file per method.

methods, task         the methods by name; what each one is given
suggestions           their scores and suggested edits, kept in the run folder
kept_results          what a search has computed, kept for the next one when it fails
image_features, feature_networks, efficientnet_lite
                      images as numbers, by name; the networks behind the names
typical               how typical an image is at each place
closer_look           a layer's top images, and how they change without the unit
shared_places         groups of images that look alike at one place, where all others look different
unit_sets             units that draw a fault together, found from images that show it
set_search            the sets that take away what a group of images shares, with what they gain and harm
first_look, typicality, oddity, rarity, spike, frechet_distance, defect, weights
                      the methods
"""
