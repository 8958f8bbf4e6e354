"""ranking: the top-activating images of every unit.

ranker                one streaming pass over the seeds
running_stats         TopK, moments, quantiles: update, merge, result
layer_stats           all statistics of one layer
alike_rows            are the rows of a layer alike
thumbnails            thumbnails of the images that win a place
result                the ranking and its folder
"""
