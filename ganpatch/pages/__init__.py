"""pages: what every page and picture shares.

image_grids           grids, before/after pairs, contact sheets, sprite sheets
samples               images of a generator, with and without a patch
charts                small SVG charts
report_frame          one HTML file, readable from disk, that requests nothing from other hosts
local_server          a server on loopback with a token
theme.css, units.js   what the review page and the studio share
"""
