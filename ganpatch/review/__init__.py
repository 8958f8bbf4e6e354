"""review: the page on which units are flagged, and verdicts turned into a patch.

page, page.html, page.js, page.css, verdict_store.js
                      the page: one HTML file and one data script per layer; its list of units is that of pages/static
server                the page served on loopback, saving verdicts as they are made
verdicts              what was flagged and why, and the patch that it makes
flags                 which flags a command means
"""
