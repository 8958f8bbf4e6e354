"""pages: what every page and picture shares.

image_grids           grids, before/after pairs, contact sheets, sprite sheets
samples               images of a generator, with and without a patch
patch_effects         what a patch does to images: how much, to which, where
charts                charts for report pages, each also as SVG and CSV
plot_axes             axes, round ticks, colours and legends of charts
report_frame          one HTML file, readable from disk, that requests nothing from other hosts
local_server          a server on loopback with a token
scripts               modules and styles given out by a server, or inlined into a page that is read from disk
static/               what the review page and the studio share: the list of units and its bar (reviewing, review_bar,
                      unit_list, rows), keys and their list (keys), outline and heat (activity), thumbnails, figures and
                      sorts (units), rows that show the same images (alike), what was seen (marks), explanations (tips)
"""
