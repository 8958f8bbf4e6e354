"""dissection: the concept that each unit represents.

dissector             one streaming pass that measures IoU of units and concepts
iou, thresholds       running pixel counts; the activation above which a unit counts as active
result                the dissection and its folder
report, report_rows   its page; its table and JSON
comparison            dissections of layers or models side by side
"""
